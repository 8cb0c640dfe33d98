//! Checks, archives and programs, without a network.

use super::{tools::Failure, *};
use flate2::{Compression, write::GzEncoder};
use std::process::Command;
use tempfile::TempDir;

const ABC: File = File {
    name: "abc",
    sha256: "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
};

#[test]
fn sums_are_sha256() {
    assert!(ABC.check(b"abc").is_ok());
    let text = ABC.check(b"abd").unwrap_err();
    assert!(
        text.contains("abc: sha256 ba7816bf") && text.contains("expected"),
        "{text}"
    );
}

fn archive(folder: &Path, members: &[(&str, &[u8])]) -> PathBuf {
    let path = folder.join("a.tar.gz");
    let mut builder = tar::Builder::new(GzEncoder::new(
        fs::File::create(&path).unwrap(),
        Compression::fast(),
    ));
    for (name, bytes) in members {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, name, *bytes).unwrap();
    }
    builder.into_inner().unwrap().finish().unwrap();
    path
}

#[test]
fn only_the_wanted_members_are_unpacked() {
    let folder = TempDir::new().unwrap();
    let path = archive(
        folder.path(),
        &[("d/a.bin", b"A"), ("d/evil", b"E"), ("d/b.bin", b"B")],
    );
    let wanted = ["d/a.bin", "d/b.bin"].map(str::to_owned);
    unpack_tar_gz(&path, &wanted, folder.path()).unwrap();
    assert_eq!(fs::read(folder.path().join("b.bin")).unwrap(), b"B");
    assert!(!folder.path().join("evil").exists());
    let missing = unpack_tar_gz(&path, &["d/c.bin".to_owned()], folder.path()).unwrap_err();
    assert!(missing.contains("d/c.bin"), "{missing}");
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    assert!(unpack_tar_gz(&path, &wanted, folder.path()).is_err());
}

#[test]
fn programs_that_fail_or_are_missing_say_so() {
    let nowhere = Path::new("nowhere");
    let run = |command| tools::run(command, "x", nowhere, &mut |_| ());
    assert_eq!(
        run(Command::new("no-such-program-here")),
        Err(Failure::NotFound)
    );
    let shell = |script| {
        let mut shell = Command::new("sh");
        shell.args(["-c", script]);
        run(shell)
    };
    assert_eq!(shell("exit 0"), Ok(()));
    assert_eq!(shell("exit 3"), Err(Failure::Failed("exit code 3".into())));
    assert_eq!(
        shell("echo no luck >&2; exit 1"),
        Err(Failure::Failed("no luck".into()))
    );
    assert_eq!(shell("kill -9 $$"), Err(Failure::Killed));
}

#[test]
fn a_workplace_leaves_nothing_behind_and_an_unwritable_root_is_named() {
    let root = TempDir::new().unwrap();
    let work = Workplace::new(&root.path().join("data")).unwrap();
    fs::write(work.path("half"), "…").unwrap();
    fs::write(work.path("whole"), "x").unwrap();
    install(
        &work.folder(),
        &root.path().join("data/set"),
        &["whole".to_owned()],
    )
    .unwrap();
    drop(work);
    let left: Vec<_> = fs::read_dir(root.path().join("data"))
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    assert_eq!(left, ["set"]);
    let file = root.path().join("data/set/whole");
    let Err(error) = Workplace::new(&file.join("below")) else {
        panic!("a folder in a file")
    };
    assert!(error.to_string().contains("whole"), "{error}");
}

#[test]
fn what_an_interrupted_fetch_has_left_is_removed_and_a_running_one_is_not() {
    let root = TempDir::new().unwrap();
    let left = root.path().join(".fetch-left");
    fs::create_dir_all(left.join("lists")).unwrap();
    fs::write(left.join("half"), "…").unwrap();
    let kept = root.path().join("kept");
    fs::create_dir(&kept).unwrap();
    let running = Workplace::new(root.path()).unwrap();
    assert!(!left.exists());
    let other = Workplace::new(root.path()).unwrap();
    assert!(running.folder().is_dir() && other.folder().is_dir() && kept.is_dir());
}

#[test]
fn failed_attempts_are_all_told_with_what_to_do_by_hand() {
    let mut attempts = Attempts::new("x", "copy it.".into());
    assert!(!attempts.take("A", Err("no network".into())));
    assert!(!attempts.take("B", Err("not installed".into())));
    let text = attempts.finish().unwrap_err().to_string();
    assert!(
        text.contains("A: no network")
            && text.contains("B: not installed")
            && text.contains("By hand: copy it.")
    );
    let mut attempts = Attempts::new("x", String::new());
    assert!(!attempts.take("A", Err("no network".into())) && attempts.take("B", Ok(())));
    assert_eq!(attempts.finish().unwrap(), "B");
}

//! The device's code on the host, with libraries that stand for CUDA's: the checks of the kernels again, through the
//! driver, and whole trainings.

use std::process::Command;

use super::{INSIDE, is_stand_in};
use crate::cuda::stand_in;

/// All checks of this folder again, with a GPU that is the host.
#[test]
fn checks_pass_through_the_driver() {
    // Not from within themselves.
    if is_stand_in() {
        return;
    }
    if !stand_in::is_possible() {
        eprintln!("skipped: no C++ compiler to stand for CUDA");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    stand_in::libraries(folder.path()).unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .env("CUDA_PATH", folder.path())
        .env("XDG_CACHE_HOME", folder.path());
    let output = command
        .env(INSIDE, "1")
        .args(["--nocapture", "cuda::emulation::"])
        .output()
        .unwrap();
    let [out, errors] =
        [output.stdout, output.stderr].map(|it| String::from_utf8_lossy(&it).into_owned());
    assert!(output.status.success(), "{out}{errors}");
    assert!(
        out.contains("test result: ok")
            && !["on the host alone", "cuDNN was not found"]
                .iter()
                .any(|it| errors.contains(it)),
        "{out}{errors}"
    );
}

//! Pages that are generated from the code are as the code would generate them now, and the two forms of
//! one report agree.

use std::path::Path;

use assert_cmd::Command;

fn is_current(flag: &str, file: &str) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let output = Command::new(env!("CARGO_BIN_EXE_cellwright"))
        .args(["spaces", flag])
        .assert()
        .success();
    let now = String::from_utf8_lossy(&output.get_output().stdout).into_owned();
    let there = std::fs::read_to_string(root.join(file)).unwrap_or_default();
    assert!(
        now == there,
        "{file} is stale: run `cellwright spaces {flag} > {file}`"
    );
}

#[test]
fn the_reference_of_the_space_language() {
    is_current("--reference", "search-spaces/REFERENCE.md");
}

#[test]
fn the_schema_of_space_files() {
    is_current("--schema", "search-spaces/space.schema.json");
}

/// What `inspect` prints for a file.
fn inspect(arguments: &[&str]) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let output = Command::new(env!("CARGO_BIN_EXE_cellwright"))
        .current_dir(root)
        .arg("inspect")
        .args(arguments)
        .assert()
        .success();
    String::from_utf8_lossy(&output.get_output().stdout).into_owned()
}

/// A number with separators of thousands.
fn number(text: &str) -> u64 {
    text.replace(',', "").parse().unwrap()
}

#[test]
fn the_table_of_inspect_and_its_json_agree() {
    for file in [
        "nasbench101.toml",
        "nasnet-a.toml",
        "baselines/googlenet.toml",
        "baselines/vgg16-bn.toml",
    ] {
        let file = format!("search-spaces/{file}");
        let (table, json) = (inspect(&[&file]), inspect(&[&file, "--json"]));
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        let size = |it: &serde_json::Value| {
            let sizes = it.as_array().unwrap().iter().map(ToString::to_string);
            sizes.collect::<Vec<_>>().join("x")
        };
        let layers = json["layers"].as_array().unwrap();
        let mut lines = table.lines();
        let rows: Vec<Vec<&str>> = lines
            .by_ref()
            .skip(2)
            .take_while(|line| !line.is_empty() && !line.starts_with(" decision "))
            .map(|line| line.split_whitespace().collect())
            .collect();
        // The decisions come between, where there are any.
        let mut lines = lines.skip_while(|line| !line.contains(" classes"));
        assert_eq!(rows.len(), layers.len(), "{file}");
        for (row, layer) in rows.iter().zip(layers) {
            let [name, op, output, params, macs] = row[..] else {
                panic!("{file}: {row:?}")
            };
            assert_eq!(
                (name, op),
                (
                    layer["name"].as_str().unwrap(),
                    layer["op"].as_str().unwrap()
                )
            );
            assert_eq!(output, size(&layer["output"]), "{file}: {name}");
            assert_eq!(
                number(params),
                layer["params"].as_u64().unwrap(),
                "{file}: {name}"
            );
            assert_eq!(
                number(macs),
                layer["macs"].as_u64().unwrap(),
                "{file}: {name}"
            );
        }
        let title = lines.next().unwrap();
        let shown = format!("{}, {} classes", size(&json["input"]), json["classes"]);
        assert!(title.ends_with(&shown), "{title}");
        for line in lines {
            let (key, value) = line.trim().split_once("  ").unwrap_or((line, ""));
            let word = value.split_whitespace().next().unwrap_or_default();
            match key {
                "parameters" => assert_eq!(number(word), json["params"].as_u64().unwrap()),
                "MACs" => assert_eq!(number(word), json["macs"].as_u64().unwrap()),
                "FLOPs" => assert_eq!(number(word), json["flops"].as_u64().unwrap()),
                "receptive field" => assert_eq!(word, size(&json["receptive_field"])),
                _ => {}
            }
        }
    }
}

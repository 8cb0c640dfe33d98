//! Depth and size of what a file may ask for, so that none of it takes the stack, the memory or the day.

mod common;

use std::time::{Duration, Instant};

use common::{build, network, parse, try_parse};

/// On a thread with a small stack, as worker threads have it.
fn on_a_small_stack(run: fn()) {
    let thread = std::thread::Builder::new().stack_size(1 << 20).spawn(run);
    assert!(thread.expect("a thread").join().is_ok());
}

#[test]
fn depth_of_anything_is_bounded() {
    on_a_small_stack(|| {
        let long = ["1", "index"].map(|it| vec![it; 2000].join("+"));
        for expression in [
            long[0].clone(),
            long[1].clone(),
            "(".repeat(4000),
            "-".repeat(4000),
            "not ".repeat(1000),
            "max(".repeat(1000),
        ] {
            let file = network(&format!("{{ op = \"conv\", filters = \"{expression}\" }}"));
            assert!(try_parse(&file).is_err(), "{expression}");
        }
        for (open, close) in [
            ("[", "]"),
            ("{ a = ", " }"),
            ("{ layers = [", "] }"),
            ("{ choose = [", "] }"),
        ] {
            let file = network(&format!("{}1{}", open.repeat(10_000), close.repeat(10_000)));
            assert!(try_parse(&file).is_err(), "{open}");
            assert!(try_parse(&open.repeat(10_000)).is_err(), "{open}");
        }
        assert!(try_parse(&format!("[{}]", vec!["a"; 100_000].join("."))).is_err());
        assert!(try_parse(&format!("[{}]", vec!["a"; 100_000].join(" . "))).is_err());
        assert!(try_parse(&format!("{} = 1", vec!["a"; 100_000].join("."))).is_err());
        assert!(try_parse(&"[[a]]\n".repeat(10_000)).is_err());
        // Values that depend on values that depend on a decision.
        let chain = |count: usize, form: &str| {
            let lets: Vec<String> = (1..count)
                .map(|it| {
                    form.replace("NEXT", &format!("v{it}"))
                        .replace("LAST", &format!("v{}", it - 1))
                })
                .collect();
            format!(
                "name = \"toy\"\n[network.let]\nv0 = {{ choose = [1, 2] }}\n{}\n[network]\nlayers = [{{ op = \"conv\", filters = {{ choose = [1, 2] }}, repeat = \"v{}\" }}]\n",
                lets.join("\n"),
                count - 1
            )
        };
        assert!(try_parse(&chain(10_000, "NEXT = \"LAST + 1\"")).is_err());
        assert!(try_parse(&chain(150, "NEXT = \"LAST + LAST\"")).is_err());
        assert_eq!(
            parse(&chain(100, "NEXT = \"0 + LAST\"")).count(),
            Some(6u32.into())
        );
    });
}

#[test]
fn size_of_anything_is_bounded() {
    on_a_small_stack(|| {
        let choice = "{ op = \"conv\", filters = { choose = [1, 2] }, repeat = COUNT }";
        for count in ["4999", "6000", "1000000000000", "\"10000000 * 1000000\""] {
            let space = try_parse(&network(&choice.replace("COUNT", count)));
            assert_eq!(space.is_ok(), count == "4999", "{count}");
            if let Ok(space) = space {
                assert!(space.count().is_some());
                assert!(build(&space, &space.first().0).is_ok());
            }
        }
        for plain in [
            r#"{ op = "relu", repeat = 1000000000000 }"#,
            r#"{ layers = [{ layers = [{ op = "relu", repeat = 1000 }], repeat = 1000 }], repeat = 1000 }"#,
            r#"{ op = "concat", from = -1, repeat = 20000, name = "a" }, { op = "concat", from = "a", repeat = 20000 }"#,
            r#"{ op = "relu", when = false, repeat = 1000000000 }, { layers = [{ op = "relu", when = false }], repeat = 1000000000 }"#,
        ] {
            assert!(build(&parse(&network(plain)), &[]).is_err(), "{plain}");
        }
        let many = r#"{ op = "relu", repeat = 40, name = "a" }, { op = "add", from = { choose = 20, of = ["a"] } }"#;
        assert!(try_parse(&network(many)).is_err());
    });
}

/// What is short to write must not take long: each of these took many seconds, or the stack.
#[test]
fn small_files_are_read_quickly() {
    let begin = Instant::now();
    let many = r#"{ op = "relu" },"#.repeat(20_000);
    assert_eq!(
        build(&parse(&network(&many)), &[]).unwrap().lines.len(),
        20_000
    );
    let named: String = (0..20_000)
        .map(|it| format!(r#"{{ op = "relu", name = "n{it}" }},"#))
        .collect();
    assert!(build(&parse(&network(&named)), &[]).is_ok());

    let known: String = (0..1_500)
        .map(|it| format!(r#"{{ op = "relu", name = "n{it}" }},"#))
        .collect();
    let unknown: Vec<String> = (0..60_000).map(|it| format!("\"q{it}\"")).collect();
    let all = format!(
        r#"{known} {{ op = "add", from = [{}] }}"#,
        unknown.join(", ")
    );
    let told = try_parse(&network(&all)).unwrap_err().diagnostics;
    assert!(told.len() <= 100, "{}", told.len());

    let word = "a".repeat(60_000);
    let text = network(&format!(
        r#"{{ op = "conv", filters = {{ choose = "{word}b" }} }}"#
    ));
    let told = try_parse(&format!("{text}[options]\n{word} = [1]\n"))
        .unwrap_err()
        .to_string();
    assert!(told.contains("a name may have 100 bytes"), "{told}");

    let options: Vec<String> = (1..=64).map(|it| it.to_string()).collect();
    let options = options.join(", ");
    let text = format!(
        "name = \"toy\"\nrequire = [\"a * b * c == 4099\"]\n[options]\no = [{options}]\n[network]\nlet = {{ a = {{ choose = \"o\" }}, b = {{ choose = \"o\" }}, c = {{ choose = \"o\" }} }}\nlayers = [{{ op = \"relu\" }}]\n"
    );
    assert!(try_parse(&text).is_err());

    for nothing in ["when = false", "repeat = 0"] {
        let layers = format!(r#"{{ op = "relu", {nothing} }},"#).repeat(15_000);
        let block = format!(
            "{}[blocks.b]\nlayers = [{layers}]\n",
            network(r#"{ op = "b", repeat = 1000000 }"#)
        );
        assert!(build(&parse(&block), &[]).is_err(), "{nothing}");
    }
    assert!(
        begin.elapsed() < Duration::from_secs(60),
        "{:?}",
        begin.elapsed()
    );
}

#[test]
fn a_notation_of_many_parts_is_read() {
    on_a_small_stack(|| {
        let layer = r#"{ op = "conv", filters = { choose = [1, 2] } }"#;
        let text = format!(
            "notation = \"{}\"\n{}",
            "{0}".repeat(20_000),
            network(layer)
        );
        let space = parse(&text);
        let choices = space
            .parse_notation(&"2".repeat(20_000))
            .expect("it is an architecture");
        assert_eq!(choices.0, [1]);
        assert!(space.parse_notation(&"2".repeat(19_999)).is_err());
    });
}

//! A toy vocabulary, and a sink that writes down what it is given.
#![allow(dead_code)]

use std::path::Path;

use cellwright_space::{
    Argument, ArgumentKind, ArgumentSpec, Call, Choices, Errors, Inputs, Primitive, Shape, Sink,
    Space, Vocabulary,
};

fn argument(name: &'static str, kind: ArgumentKind, default: Option<&'static str>) -> ArgumentSpec {
    ArgumentSpec {
        name,
        kind,
        default,
        about: "what it is",
    }
}

/// Operations that say little: what is tested is the language.
pub fn vocabulary() -> Vocabulary {
    use ArgumentKind as K;
    let primitive = |name, inputs, arguments| Primitive {
        name,
        about: "does something",
        inputs,
        arguments,
    };
    let conv = vec![
        argument("filters", K::Whole, None),
        argument("kernel", K::Pair, Some("1")),
        argument("stride", K::Pair, Some("1")),
        argument("padding", K::Padding(&["same", "valid"]), Some("same")),
        argument("bias", K::Bool, Some("false")),
    ];
    Vocabulary {
        primitives: vec![
            primitive("conv", Inputs::Exactly(1), conv),
            primitive("relu", Inputs::Exactly(1), vec![]),
            primitive("identity", Inputs::Exactly(1), vec![]),
            primitive(
                "pool",
                Inputs::Exactly(1),
                vec![argument("kind", K::Word(&["max", "avg"]), Some("max"))],
            ),
            primitive(
                "dropout",
                Inputs::Exactly(1),
                vec![argument("rate", K::Number, None)],
            ),
            primitive("add", Inputs::Many, vec![]),
            primitive("concat", Inputs::Many, vec![]),
            primitive(
                "linear",
                Inputs::Exactly(1),
                vec![argument("units", K::Whole, None)],
            ),
        ],
    }
}

/// What a toy network consists of, one line a layer: `path = op(arguments) <- inputs`.
#[derive(Default)]
pub struct Notes {
    pub lines: Vec<String>,
    pub shapes: Vec<Shape>,
    pub auxiliary: Vec<(usize, f64)>,
    names: Vec<&'static str>,
}

impl Notes {
    pub fn new() -> Self {
        let names = vocabulary().primitives.iter().map(|it| it.name).collect();
        let shapes = vec![Shape {
            height: 8,
            width: 8,
            channels: 3,
        }];
        Notes {
            names,
            shapes,
            ..Notes::default()
        }
    }
}

impl Sink for Notes {
    type Node = usize;

    fn layer(&mut self, call: &Call<'_, usize>) -> Result<usize, String> {
        let name = self.names[call.primitive];
        let mut shape = self.shapes[*call.inputs.first().ok_or("no input")?];
        if matches!(name, "conv" | "linear")
            && let Some(Argument::Whole(channels)) = call.arguments[0]
        {
            if channels == 0 {
                return Err("no channels".to_owned());
            }
            shape.channels = channels;
        }
        if name == "conv"
            && let Some(Argument::Pair([rows, columns])) = call.arguments[2]
        {
            shape.height /= rows.max(1);
            shape.width /= columns.max(1);
        }
        if name == "concat" {
            shape.channels = call
                .inputs
                .iter()
                .map(|it| self.shapes[*it].channels)
                .fold(0, usize::saturating_add);
        }
        let given: Vec<String> = call
            .arguments
            .iter()
            .flatten()
            .map(|it| format!("{it:?}"))
            .collect();
        self.lines.push(format!(
            "{} = {name}({}) <- {:?}",
            call.path,
            given.join(" "),
            call.inputs
        ));
        self.shapes.push(shape);
        Ok(self.shapes.len() - 1)
    }

    fn shape(&self, node: usize) -> Shape {
        self.shapes[node]
    }

    fn auxiliary(&mut self, node: usize, weight: f64) -> Result<(), String> {
        self.auxiliary.push((node, weight));
        Ok(())
    }
}

/// A file's space; the errors where it has some.
pub fn try_parse(text: &str) -> Result<Space, Errors> {
    Space::parse(text, Path::new("toy.toml"), &[], &vocabulary())
}

/// A space from a file; what is wrong with it is shown.
pub fn parse(text: &str) -> Space {
    match try_parse(text) {
        Ok(space) => space,
        Err(errors) => panic!("{errors}"),
    }
}

/// The layers of an architecture.
pub fn build(space: &Space, choices: &[u32]) -> Result<Notes, Errors> {
    let mut notes = Notes::new();
    space.expand(&Choices(choices.to_vec()), 0, 10, &mut notes)?;
    Ok(notes)
}

/// The layers of a network whose `[network]` layers are these, without decisions.
pub fn lines(layers: &str) -> Vec<String> {
    let space = parse(&network(layers));
    let notes = build(&space, &[]);
    notes.unwrap_or_else(|errors| panic!("{errors}")).lines
}

/// A file with these layers.
pub fn network(layers: &str) -> String {
    format!("name = \"toy\"\n[network]\nlayers = [\n{layers}\n]\n")
}

/// All choices that `check` accepts, by going through `legal`.
pub fn enumerate(space: &Space, most: usize) -> Option<Vec<Choices>> {
    let mut open = vec![Vec::new()];
    let mut done = Vec::new();
    while let Some(prefix) = open.pop() {
        if prefix.len() == space.decisions().len() {
            done.push(Choices(prefix));
        } else {
            for (option, legal) in space.legal(&prefix).into_iter().enumerate() {
                if legal {
                    let mut longer = prefix.clone();
                    longer.push(option as u32);
                    open.push(longer);
                }
            }
        }
        if done.len() + open.len() > most {
            return None;
        }
    }
    done.sort();
    Some(done)
}

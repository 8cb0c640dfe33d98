//! The reference of the language, from the tables that the parser uses.

use std::fmt::Write;

use crate::expression::FUNCTIONS;
use crate::resolve::{DEFINITION_KEYS, FILE_KEYS, LAYER_KEYS, NETWORK_KEYS};
use crate::{Inputs, Vocabulary};

/// Every key of a space file, every operation and every function, as Markdown.
#[must_use]
pub fn reference(vocabulary: &Vocabulary) -> String {
    let mut text = String::from(
        "# Space files: reference\n\nGenerated from the code; `cellwright spaces --reference` prints it.\n",
    );
    keys(&mut text, "The file", &FILE_KEYS);
    keys(&mut text, "The network", &NETWORK_KEYS);
    keys(&mut text, "A block or a cell", &DEFINITION_KEYS);
    keys(&mut text, "A layer", &LAYER_KEYS);
    text.push_str(
        "\nEvery other key of a layer is an argument of its operation.\n\n## Operations\n",
    );
    for primitive in &vocabulary.primitives {
        let inputs = match primitive.inputs {
            Inputs::Exactly(1) => String::new(),
            Inputs::Exactly(count) => format!(" Takes {count} tensors."),
            Inputs::Many => " Takes any number of tensors.".to_owned(),
        };
        let _ = write!(
            text,
            "\n### `{}`\n\n{}.{inputs}\n",
            primitive.name,
            primitive.about.trim_end_matches('.')
        );
        if !primitive.arguments.is_empty() {
            text.push_str("\n| argument | takes | default | |\n|---|---|---|---|\n");
        }
        for argument in &primitive.arguments {
            let default = argument
                .default
                .map_or("needed".to_owned(), |it| format!("`{it}`"));
            let _ = writeln!(
                text,
                "| `{}` | {} | {default} | {} |",
                argument.name,
                argument.kind.expected(),
                argument.about
            );
        }
    }
    text.push_str(
        "\n## Expressions\n\nWhere a number or a truth value is expected, a text is an expression. From loose to \
         tight: `or`, `and`, `not`, `< <= > >= == !=`, `+ -`, `* / // %`, `-x`. `/` gives a fraction, `//` rounds \
         down. Names are the arguments and `let`s of the definition, the parameters, `classes`, and `index` (the \
         repetition).\n\n| function | |\n|---|---|\n",
    );
    for (form, about) in FUNCTIONS {
        let _ = writeln!(text, "| `{form}` | {about} |");
    }
    text
}

fn keys(text: &mut String, title: &str, keys: &[(&str, &str)]) {
    let _ = write!(text, "\n## {title}\n\n| key | |\n|---|---|\n");
    for (key, about) in keys {
        let _ = writeln!(text, "| `{key}` | {about} |");
    }
}

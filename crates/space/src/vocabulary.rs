//! What primitive operations there are, told by whoever implements them.

/// The primitive operations that a space file may use.
#[derive(Debug, Clone, PartialEq)]
pub struct Vocabulary {
    /// The operations, in the order in which the reference lists them.
    pub primitives: Vec<Primitive>,
}

/// One primitive operation.
#[derive(Debug, Clone, PartialEq)]
pub struct Primitive {
    /// Its name in `op`.
    pub name: &'static str,
    /// One line: what it does.
    pub about: &'static str,
    /// How many tensors it takes.
    pub inputs: Inputs,
    /// The keys it takes beside `op`, `from` and the like.
    pub arguments: Vec<ArgumentSpec>,
}

/// How many tensors an operation takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inputs {
    /// So many.
    Exactly(usize),
    /// One or more.
    Many,
}

/// One argument of a primitive.
#[derive(Debug, Clone, PartialEq)]
pub struct ArgumentSpec {
    /// Its key.
    pub name: &'static str,
    /// What it takes.
    pub kind: ArgumentKind,
    /// The default in words (`1`, `"same"`), or none where it must be given.
    pub default: Option<&'static str>,
    /// One line: what it means.
    pub about: &'static str,
}

/// What an argument takes. Numbers may be expressions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArgumentKind {
    /// A whole number, at least 0.
    Whole,
    /// A number.
    Number,
    /// `true` or `false`.
    Bool,
    /// A whole number for both axes, or `[rows, columns]`.
    Pair,
    /// One of the words, or a whole number for all sides, or `[top, bottom, left, right]`.
    Padding(&'static [&'static str]),
    /// One of the words.
    Word(&'static [&'static str]),
}

impl ArgumentKind {
    /// What it takes, in words for an error or a reference.
    #[must_use]
    pub fn expected(&self) -> String {
        let words = |words: &[&str]| {
            let quoted: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
            quoted.join(", ")
        };
        match self {
            ArgumentKind::Whole => "a whole number".to_owned(),
            ArgumentKind::Number => "a number".to_owned(),
            ArgumentKind::Bool => "true or false".to_owned(),
            ArgumentKind::Pair => "a whole number or [rows, columns]".to_owned(),
            ArgumentKind::Padding(names) => {
                format!(
                    "{}, a whole number, or [top, bottom, left, right]",
                    words(names)
                )
            }
            ArgumentKind::Word(names) => format!("one of {}", words(names)),
        }
    }
}

impl Vocabulary {
    /// The index of an operation by its name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<usize> {
        self.primitives
            .iter()
            .position(|primitive| primitive.name == name)
    }
}

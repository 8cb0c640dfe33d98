//! Who receives the layers of an architecture, and what is received.

use std::fmt;

use crate::Shape;

/// Receives the primitive layers of an architecture in order, and answers with their shapes, since
/// expressions may ask for them.
pub trait Sink {
    /// A tensor.
    type Node: Copy;

    /// Adds a layer and returns its output.
    ///
    /// # Errors
    /// Why the layer cannot be added, in words; the place is added by the caller.
    fn layer(&mut self, call: &Call<'_, Self::Node>) -> Result<Self::Node, String>;

    /// The shape of a tensor.
    fn shape(&self, node: Self::Node) -> Shape;

    /// Marks a tensor as an auxiliary classifier's logits, whose loss has this weight.
    ///
    /// # Errors
    /// Why it cannot be one, in words.
    fn auxiliary(&mut self, node: Self::Node, weight: f64) -> Result<(), String>;
}

/// One primitive layer.
#[derive(Debug)]
pub struct Call<'a, N> {
    /// The operation's index in the vocabulary.
    pub primitive: usize,
    /// The arguments that are given, by their index in the primitive's list; none: the default.
    pub arguments: &'a [Option<Argument>],
    /// The tensors it takes.
    pub inputs: &'a [N],
    /// Where the layer stands in the file, for names and errors.
    pub path: Path<'a>,
}

/// The value of an argument.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Argument {
    /// For [`ArgumentKind::Whole`](crate::ArgumentKind::Whole).
    Whole(usize),
    /// For [`ArgumentKind::Number`](crate::ArgumentKind::Number).
    Number(f64),
    /// For [`ArgumentKind::Bool`](crate::ArgumentKind::Bool).
    Bool(bool),
    /// For [`ArgumentKind::Pair`](crate::ArgumentKind::Pair): rows, columns.
    Pair([usize; 2]),
    /// For [`ArgumentKind::Padding`](crate::ArgumentKind::Padding): top, bottom, left, right.
    Sides([usize; 4]),
    /// A word, by its index in the kind's list.
    Word(usize),
}

/// The place of a layer: from the network down through the blocks, `normal.2/block.0/left/conv`.
#[derive(Debug, Clone, Copy)]
pub struct Path<'a> {
    /// The path down to the definition that it is in, with a slash at its end.
    pub(crate) around: &'a str,
    /// The layer's name in the file, or else its operation's.
    pub(crate) name: &'a str,
    /// Which repetition, where there are several.
    pub(crate) instance: Option<usize>,
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.around)?;
        f.write_str(self.name)?;
        match self.instance {
            Some(instance) => {
                let mut digits = [0; 20];
                f.write_str(".")?;
                f.write_str(decimal(instance, &mut digits))
            }
            None => Ok(()),
        }
    }
}

/// A number in decimal, without the machinery of formatting: each layer has a path.
pub(crate) fn decimal(mut number: usize, digits: &mut [u8; 20]) -> &str {
    let mut at = digits.len();
    while at > 0 {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    std::str::from_utf8(&digits[at..]).unwrap_or_default()
}

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

    /// Told of an operation that was chosen, once its layers are added. Its answer is what later layers
    /// take for its output.
    ///
    /// # Errors
    /// Why it cannot be taken, in words.
    fn chosen(
        &mut self,
        _option: &str,
        _inputs: &[Self::Node],
        output: Self::Node,
    ) -> Result<Self::Node, String> {
        Ok(output)
    }

    /// Told of a cell that was used, once its layers are added. Its answer is what later layers take for
    /// its output.
    ///
    /// # Errors
    /// Why it cannot be taken, in words.
    fn cell(&mut self, _inputs: &[Self::Node], output: Self::Node) -> Result<Self::Node, String> {
        Ok(output)
    }
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
pub struct Path<'a>(pub(crate) &'a str);

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

//! From a space and its choices to a graph: receives the layers that the space expands to.

use cellwright_space::{Call, Choices, Sink, Space};

use crate::{Builder, Error, Graph, NodeId, Shape, vocabulary};

impl Graph {
    /// The graph of one architecture, for images of this shape and this number of classes.
    /// Identities are dropped, and so is what feeds no output.
    ///
    /// The space must have been loaded with [`vocabulary`].
    ///
    /// # Errors
    /// [`Error::Space`] when the choices are not the space's, or a layer cannot take its inputs: it
    /// names the place in the file, the shapes, and what would help. [`Error::Space`] too when the
    /// network does not end in one value a class.
    pub fn build(
        space: &Space,
        choices: &Choices,
        input: Shape,
        classes: usize,
    ) -> Result<Self, Error> {
        let mut sink = Receiver {
            builder: Builder::new(input, classes),
        };
        let output = space.expand(choices, 0, classes, &mut sink)?;
        sink.builder.finish(output).map_err(|error| match error {
            Error::Logits { .. } => space.output_error(error.to_string()).into(),
            _ => error,
        })
    }
}

struct Receiver {
    builder: Builder,
}

impl Sink for Receiver {
    type Node = NodeId;

    fn layer(&mut self, call: &Call<'_, NodeId>) -> Result<NodeId, String> {
        let layer = match call.inputs {
            [one] => {
                let shapes = [self.builder.shape(*one)];
                vocabulary::layer(call.primitive, call.arguments, &shapes)?
            }
            many => {
                let shapes: Vec<Shape> = many.iter().map(|&id| self.builder.shape(id)).collect();
                vocabulary::layer(call.primitive, call.arguments, &shapes)?
            }
        };
        self.builder
            .layer(call.path, layer, call.inputs)
            .map_err(|error| error.without_place())
    }

    fn shape(&self, node: NodeId) -> Shape {
        self.builder.shape(node)
    }

    fn auxiliary(&mut self, node: NodeId, weight: f64) -> Result<(), String> {
        self.builder
            .auxiliary(node, weight)
            .map_err(|error| error.without_place())
    }
}

//! What a graph costs and sees: activation memory and receptive field.

#[cfg(test)]
mod tests;

use crate::layers::Reach;
use crate::{Graph, Layer, Node, NodeId};

/// Bytes of one activation: training is in single precision.
const VALUE_BYTES: u64 = 4;

impl Graph {
    /// Bytes of the activations that one training step on a batch of this size keeps for its
    /// backward pass: the output of every layer once, in single precision.
    ///
    /// This is what an implementation without fused operations and without recomputation holds;
    /// fusing a layer with the one before it spares that one's output. None where they are too many for
    /// 64 bits.
    #[must_use]
    pub fn activation_bytes(&self, batch: usize) -> Option<u64> {
        // A shape's own count saturates, and then four bytes a value are too many.
        let values = |sum: u64, node: &Node| sum.checked_add(node.shape.len());
        self.nodes
            .iter()
            .try_fold(0, values)?
            .checked_mul(VALUE_BYTES)?
            .checked_mul(batch as u64)
    }

    /// The receptive field (rows and columns of the image, as if it had no border) of the feature
    /// maps that reach the classifier: what the last layers before its global pooling, its flattening
    /// or the end see, the largest where there are several. It may be larger than the image.
    ///
    /// Only paths through windows count. A gate that comes from a global pooling, as in
    /// squeeze-and-excitation, sees all of the image whatever the network is; a layer that joins it
    /// with feature maps has the field of these. So a network has the same field with its gates and
    /// without them.
    #[must_use]
    pub fn receptive_field(&self) -> [usize; 2] {
        let used = self.reachable(&[self.output]);
        let fields = self.receptive_fields();
        (0..self.nodes.len())
            .filter(|&id| used[id])
            .filter_map(|id| fields[id])
            .fold([1, 1], |most, field| {
                [most[0].max(field[0]), most[1].max(field[1])]
            })
    }

    /// The receptive field of each node, in rows and columns of the image: the largest of its inputs'
    /// through its own window. `None` where all paths to a node go through a global pooling or a
    /// flattening, and it sees the whole image.
    #[must_use]
    pub fn receptive_fields(&self) -> Vec<Option<[usize; 2]>> {
        let mut views: Vec<Option<View>> = Vec::with_capacity(self.nodes.len());
        for id in 0..self.nodes.len() {
            let view = self.view(id, &views);
            views.push(view);
        }
        views
            .into_iter()
            .map(|view| view.map(|it| it.extent))
            .collect()
    }

    fn view(&self, id: NodeId, views: &[Option<View>]) -> Option<View> {
        let node = &self.nodes[id];
        if node.layer == Layer::Input {
            return Some(View {
                extent: [1, 1],
                step: [1, 1],
            });
        }
        let joined = node
            .inputs
            .iter()
            .filter_map(|&input| views[input])
            .reduce(View::join)?;
        match node.layer.reach() {
            Reach::Everything => None,
            Reach::Window { extent, stride } => Some(joined.through(extent, stride)),
        }
    }
}

/// What one value of a tensor sees of the image, and how far apart two neighbours' views lie.
#[derive(Clone, Copy)]
struct View {
    extent: [usize; 2],
    step: [usize; 2],
}

impl View {
    fn join(self, other: Self) -> Self {
        Self {
            extent: pair(self.extent, other.extent, usize::max),
            step: pair(self.step, other.step, usize::max),
        }
    }

    /// The view through a window: `extent + (window - 1) * step`, and steps multiply.
    fn through(self, window: [usize; 2], stride: [usize; 2]) -> Self {
        let grown = pair(window, self.step, |window, step| {
            (window - 1).saturating_mul(step)
        });
        Self {
            extent: pair(self.extent, grown, usize::saturating_add),
            step: pair(self.step, stride, usize::saturating_mul),
        }
    }
}

fn pair(a: [usize; 2], b: [usize; 2], f: impl Fn(usize, usize) -> usize) -> [usize; 2] {
    [f(a[0], b[0]), f(a[1], b[1])]
}

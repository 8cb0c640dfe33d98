//! A NASNet-like graph with random cells, named as space files name their layers.

use cellwright_graph::{
    Activation, BatchNorm, Conv, Graph, Layer, Node, NodeId, Padding, Pool, PoolKind, Shape,
    Subsample,
};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

const WIDTH: usize = 16;

/// What a block does with one of its inputs: the state, and the operation (0 identity, 1..=3 separable, 4 and 5 pools).
type Half = (usize, usize);

/// A network of two stages, each of two normal cells and, between them, a reduction cell.
pub fn nasnet(rng: &mut ChaCha8Rng) -> Graph {
    let mut cell = || {
        (0..5)
            .map(|block| [0; 2].map(|_| half(block, rng)))
            .collect::<Vec<[Half; 2]>>()
    };
    let (normal, reduction) = (cell(), cell());
    let mut net = Net { nodes: Vec::new() };
    let image = net.push("input", Layer::Input, &[]);
    let stem = net.conv("stem/conv", image, 3, 1, 1);
    let mut states = [stem, stem];
    for (stage, cells) in [(0, 3), (1, 2)] {
        for index in 0..cells {
            let (name, blocks, stride) = match (stage, index) {
                (0, 2) => (format!("stage.{stage}/reduction"), &reduction, 2),
                _ => (format!("stage.{stage}/normal.{index}"), &normal, 1),
            };
            let output = net.cell(&name, states, blocks, stride);
            states = [states[1], output];
        }
    }
    let output = net.push("head/pool", Layer::GlobalAveragePool, &[states[1]]);
    let shape = Shape {
        height: 28,
        width: 28,
        channels: 1,
    };
    Graph {
        nodes: net.nodes,
        output,
        auxiliary: Vec::new(),
        input: shape,
        classes: 10,
    }
}

fn half(block: usize, rng: &mut ChaCha8Rng) -> Half {
    (rng.random_range(0..block + 2), rng.random_range(0..6))
}

struct Net {
    nodes: Vec<Node>,
}

impl Net {
    fn push(&mut self, name: &str, layer: Layer, inputs: &[NodeId]) -> NodeId {
        let shape = Shape {
            height: 28,
            width: 28,
            channels: WIDTH,
        };
        self.nodes.push(Node {
            name: name.into(),
            layer,
            inputs: inputs.into(),
            shape,
        });
        self.nodes.len() - 1
    }

    fn conv(
        &mut self,
        name: &str,
        input: NodeId,
        kernel: usize,
        stride: usize,
        groups: usize,
    ) -> NodeId {
        let conv = Conv {
            kernel: [kernel; 2],
            stride: [stride; 2],
            dilation: [1; 2],
            padding: Padding::Same,
            groups,
            filters: WIDTH,
            bias: false,
        };
        self.push(name, Layer::Conv(conv), &[input])
    }

    fn norm(&mut self, name: &str, input: NodeId) -> NodeId {
        let norm = BatchNorm {
            momentum: 0.1,
            epsilon: 1e-5,
            scale_and_shift: true,
        };
        self.push(name, Layer::BatchNorm(norm), &[input])
    }

    fn fitted(&mut self, name: &str, input: NodeId) -> NodeId {
        let relu = self.push(
            &format!("{name}/relu"),
            Layer::Activation(Activation::Relu),
            &[input],
        );
        let conv = self.conv(&format!("{name}/conv"), relu, 1, 1, 1);
        self.norm(&format!("{name}/batch_norm"), conv)
    }

    fn reduced(&mut self, name: &str, input: NodeId) -> NodeId {
        let halves = [0, 1].map(|offset| {
            let half = self.push(
                &format!("{name}/subsample.{offset}"),
                Layer::Subsample(Subsample { stride: 2, offset }),
                &[input],
            );
            self.conv(&format!("{name}/conv.{offset}"), half, 1, 1, 1)
        });
        self.push(&format!("{name}/concat"), Layer::Concat, &halves)
    }

    fn separable(&mut self, name: &str, input: NodeId, kernel: usize, stride: usize) -> NodeId {
        let mut last = input;
        for (index, stride) in [stride, 1].into_iter().enumerate() {
            let part = format!("{name}/separable.{index}");
            last = self.push(
                &format!("{part}/relu"),
                Layer::Activation(Activation::Relu),
                &[last],
            );
            last = self.conv(&format!("{part}/depthwise"), last, kernel, stride, WIDTH);
            last = self.conv(&format!("{part}/pointwise"), last, 1, 1, 1);
            last = self.norm(&format!("{part}/batch_norm"), last);
        }
        last
    }

    fn cell(
        &mut self,
        name: &str,
        inputs: [NodeId; 2],
        blocks: &[[Half; 2]],
        stride: usize,
    ) -> NodeId {
        let mut states = vec![self.fitted(&format!("{name}/fit_previous"), inputs[0])];
        states.push(self.fitted(&format!("{name}/fit_current"), inputs[1]));
        let mut used = vec![false; blocks.len() + 2];
        for (index, block) in blocks.iter().enumerate() {
            let halves: Vec<NodeId> = block
                .iter()
                .zip(["a", "b"])
                .map(|(&(state, op), half)| {
                    used[state] = true;
                    let stride = if state < 2 { stride } else { 1 };
                    self.operation(
                        &format!("{name}/block.{index}/{half}"),
                        states[state],
                        op,
                        stride,
                    )
                })
                .collect();
            states.push(self.push(&format!("{name}/block.{index}/add"), Layer::Add, &halves));
        }
        let open: Vec<NodeId> = (2..states.len())
            .filter(|&state| !used[state])
            .map(|state| states[state])
            .collect();
        self.push(&format!("{name}/concat"), Layer::Concat, &open)
    }

    fn operation(&mut self, name: &str, input: NodeId, op: usize, stride: usize) -> NodeId {
        let pool = |kind| {
            Layer::Pool(Pool {
                kind,
                kernel: [3; 2],
                stride: [stride; 2],
                padding: Padding::Same,
            })
        };
        match op {
            0 if stride == 1 => input,
            0 => self.reduced(&format!("{name}/reduce"), input),
            1..=3 => self.separable(&format!("{name}/sep_conv"), input, 2 * op + 1, stride),
            4 => self.push(name, pool(PoolKind::Max), &[input]),
            _ => self.push(name, pool(PoolKind::Average), &[input]),
        }
    }
}

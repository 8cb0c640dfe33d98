//! Receptive fields and activation memory, against numbers worked out by hand.

use crate::{Builder, Conv, Graph, Layer, Linear, NodeId, Padding, Pool, PoolKind, Shape};

const IMAGE: Shape = Shape {
    height: 32,
    width: 32,
    channels: 3,
};

fn conv(kernel: usize, stride: usize, dilation: usize) -> Layer {
    Layer::Conv(Conv {
        kernel: [kernel; 2],
        stride: [stride; 2],
        dilation: [dilation; 2],
        padding: Padding::Same,
        groups: 1,
        filters: 4,
        bias: false,
    })
}

fn network(middle: impl FnOnce(&mut Builder) -> NodeId) -> Graph {
    let mut builder = Builder::new(IMAGE, 10);
    let features = middle(&mut builder);
    let pooled = builder
        .layer("pool", Layer::GlobalAveragePool, &[features])
        .unwrap();
    let logits = builder
        .layer(
            "head",
            Layer::Linear(Linear {
                units: 10,
                bias: true,
            }),
            &[pooled],
        )
        .unwrap();
    builder.finish(logits).unwrap()
}

fn chain(layers: &[Layer]) -> Graph {
    network(|b| {
        layers.iter().fold(0, |last, layer| {
            b.layer("x", layer.clone(), &[last]).unwrap()
        })
    })
}

#[test]
fn the_receptive_field_grows_with_kernels_and_strides() {
    assert_eq!(chain(&[]).receptive_field(), [1, 1]);
    assert_eq!(
        chain(&[conv(3, 1, 1), conv(3, 1, 1)]).receptive_field(),
        [5, 5]
    );
    // 7, then 7 + 2 * 2 = 11 through the pooling, then 11 + 2 * 4 = 19
    let pool = Layer::Pool(Pool {
        kind: PoolKind::Max,
        kernel: [3; 2],
        stride: [2; 2],
        padding: Padding::Same,
    });
    assert_eq!(
        chain(&[conv(7, 2, 1), pool, conv(3, 1, 1)]).receptive_field(),
        [19, 19]
    );
    assert_eq!(chain(&[conv(3, 1, 4)]).receptive_field(), [9, 9]);
}

#[test]
fn the_widest_branch_counts() {
    let graph = network(|b| {
        let narrow = b.layer("a", conv(1, 1, 1), &[0]).unwrap();
        let wide = b.layer("b", conv(5, 1, 1), &[0]).unwrap();
        b.layer("sum", Layer::Add, &[narrow, wide]).unwrap()
    });
    assert_eq!(graph.receptive_field(), [5, 5]);
    let fields = graph.receptive_fields();
    assert_eq!(fields[0], Some([1, 1]));
    assert_eq!(fields[graph.output], None);
}

#[test]
fn a_gate_leaves_the_receptive_field_of_its_trunk() {
    let field = |gated: bool| {
        let graph = network(|b| {
            let mut last = b.layer("stem", conv(3, 2, 1), &[0]).unwrap();
            for _ in 0..2 {
                last = b.layer("conv", conv(5, 1, 1), &[last]).unwrap();
                if gated {
                    let pooled = b
                        .layer("squeeze", Layer::GlobalAveragePool, &[last])
                        .unwrap();
                    let gate = b.layer("excite", conv(1, 1, 1), &[pooled]).unwrap();
                    last = b.layer("scale", Layer::Multiply, &[last, gate]).unwrap();
                }
            }
            b.layer("last", conv(3, 2, 1), &[last]).unwrap()
        });
        graph.receptive_field()
    };
    // 3, then twice 2 * 4 more, then 2 * 2 more
    assert_eq!((field(true), field(false)), ([23, 23], [23, 23]));
}

#[test]
fn activations_are_four_bytes_a_value() {
    let graph = chain(&[conv(3, 2, 1)]);
    let values = 32 * 32 * 3 + 16 * 16 * 4 + 4 + 10;
    assert_eq!(graph.activation_bytes(1), Some(4 * values));
    assert_eq!(graph.activation_bytes(64), Some(64 * 4 * values));
    assert_eq!(graph.activation_bytes(usize::MAX), None);
}

#[test]
fn what_feeds_no_output_is_dropped() {
    let graph = network(|b| {
        b.layer("unused", conv(3, 1, 1), &[0]).unwrap();
        b.layer("used", conv(1, 1, 1), &[0]).unwrap()
    });
    let names: Vec<&str> = graph.nodes.iter().map(|node| &*node.name).collect();
    assert_eq!(names, ["input", "used", "pool", "head"]);
    assert_eq!((graph.params(), graph.macs()), (12 + 50, 32 * 32 * 12 + 40));
    assert_eq!(graph.flops(), 2 * graph.macs());
}

#[test]
fn auxiliary_classifiers_count_as_parameters_and_not_as_work() {
    let mut builder = Builder::new(IMAGE, 10);
    let pooled = builder
        .layer("pool", Layer::GlobalAveragePool, &[0])
        .unwrap();
    let head = Layer::Linear(Linear {
        units: 10,
        bias: false,
    });
    let logits = builder.layer("head", head.clone(), &[pooled]).unwrap();
    let second = builder.layer("second", head, &[pooled]).unwrap();
    builder.auxiliary(second, 0.4).unwrap();
    let graph = builder.finish(logits).unwrap();
    assert_eq!((graph.params(), graph.macs()), (60, 30));
}

#[test]
fn a_network_must_end_in_logits() {
    let mut builder = Builder::new(IMAGE, 10);
    let features = builder.layer("features", conv(3, 1, 1), &[0]).unwrap();
    let message = builder.finish(features).unwrap_err().to_string();
    assert!(
        message.contains("32x32x4") && message.contains("1x1x10"),
        "{message}"
    );
}

#[test]
fn shape_errors_name_the_layer_and_both_shapes() {
    let mut builder = Builder::new(IMAGE, 10);
    let a = builder.layer("cell/left", conv(3, 1, 1), &[0]).unwrap();
    let b = builder.layer("cell/right", conv(3, 2, 1), &[0]).unwrap();
    let message = builder
        .layer("cell/sum", Layer::Add, &[a, b])
        .unwrap_err()
        .to_string();
    for part in [
        "cell/sum",
        "add",
        "`cell/left` 32x32x4",
        "`cell/right` 16x16x4",
        "stride",
    ] {
        assert!(message.contains(part), "{message}");
    }
}

//! What changes a graph's identity, and what does not.

use std::collections::{BTreeMap, HashSet};

use proptest::prelude::*;

use super::refine::digest;
use super::simplify::{Inputs, Reduced, Vertex};
use crate::{
    Activation, BatchNorm, Builder, Conv, Graph, Layer, Linear, NodeId, Padding, Pool, PoolKind,
    Shape, Subsample, Truncate, Zero,
};

const IMAGE: Shape = Shape {
    height: 8,
    width: 8,
    channels: 4,
};

fn conv(kernel: usize) -> Layer {
    Layer::Conv(Conv {
        kernel: [kernel; 2],
        stride: [1; 2],
        dilation: [1; 2],
        padding: Padding::Same,
        groups: 1,
        filters: 4,
        bias: false,
    })
}

fn pool() -> Layer {
    Layer::Pool(Pool {
        kind: PoolKind::Average,
        kernel: [3; 2],
        stride: [1; 2],
        padding: Padding::Same,
    })
}

const RELU: Layer = Layer::Activation(Activation::Relu);

/// A network from its middle part.
fn network(middle: impl FnOnce(&mut Builder) -> NodeId) -> Graph {
    let mut builder = Builder::new(IMAGE, 4);
    let features = middle(&mut builder);
    let pooled = builder
        .layer("pool", Layer::GlobalAveragePool, &[features])
        .unwrap();
    let head = Layer::Linear(Linear {
        units: 4,
        bias: true,
    });
    let logits = builder.layer("head", head, &[pooled]).unwrap();
    builder.finish(logits).unwrap()
}

fn add(builder: &mut Builder, layer: Layer, inputs: &[NodeId]) -> NodeId {
    builder.layer("any", layer, inputs).unwrap()
}

#[test]
fn it_is_128_bits_in_hexadecimal() {
    let identity = network(|b| add(b, conv(3), &[0])).identity();
    assert_eq!(identity.len(), 32);
    assert!(identity.chars().all(|c| c.is_ascii_hexdigit()));
}

#[test]
fn sharing_differs_from_duplication() {
    let shared = network(|b| {
        let a = add(b, conv(3), &[0]);
        let (left, right) = (add(b, conv(1), &[a]), add(b, pool(), &[a]));
        add(b, Layer::Add, &[left, right])
    });
    let duplicated = network(|b| {
        let (a, c) = (add(b, conv(3), &[0]), add(b, conv(3), &[0]));
        let (left, right) = (add(b, conv(1), &[a]), add(b, pool(), &[c]));
        add(b, Layer::Add, &[left, right])
    });
    assert_ne!(shared.identity(), duplicated.identity());
}

#[test]
fn twice_one_convolution_is_not_two_convolutions() {
    let twice = network(|b| {
        let a = add(b, conv(3), &[0]);
        add(b, Layer::Add, &[a, a])
    });
    let two = network(|b| {
        let (a, c) = (add(b, conv(3), &[0]), add(b, conv(3), &[0]));
        add(b, Layer::Add, &[a, c])
    });
    let once = network(|b| add(b, conv(3), &[0]));
    assert_ne!(twice.identity(), two.identity());
    assert_ne!(twice.identity(), once.identity());
}

#[test]
fn pooling_twice_is_pooling_once_and_sharing() {
    let shared = network(|b| {
        let a = add(b, pool(), &[0]);
        let (left, right) = (add(b, conv(1), &[a]), add(b, conv(3), &[a]));
        add(b, Layer::Add, &[left, right])
    });
    let duplicated = network(|b| {
        let (a, c) = (add(b, pool(), &[0]), add(b, pool(), &[0]));
        let (left, right) = (add(b, conv(3), &[c]), add(b, conv(1), &[a]));
        add(b, Layer::Add, &[left, right])
    });
    assert_eq!(shared.identity(), duplicated.identity());
}

#[test]
fn zeros_vanish_from_sums_and_pass_through_layers() {
    let plain = network(|b| add(b, conv(3), &[0]));
    let with_zeros = network(|b| {
        let a = add(b, conv(3), &[0]);
        let zero = add(b, Layer::Zero(Zero { stride: 1 }), &[a]);
        let rectified = add(b, RELU, &[zero]);
        let convolved = add(b, conv(3), &[rectified]);
        let normalised = add(b, Layer::BatchNorm(BatchNorm::default()), &[convolved]);
        add(b, Layer::Add, &[normalised, a, zero])
    });
    assert_eq!(plain.identity(), with_zeros.identity());
}

#[test]
fn a_biased_layer_of_zeros_is_not_zero() {
    let network = |bias| {
        network(|b| {
            let zero = add(b, Layer::Zero(Zero { stride: 1 }), &[0]);
            let Layer::Conv(conv) = conv(1) else {
                unreachable!()
            };
            let a = add(b, Layer::Conv(Conv { bias, ..conv }), &[zero]);
            add(b, Layer::Add, &[a, 0])
        })
    };
    assert_ne!(network(true).identity(), network(false).identity());
}

#[test]
fn sums_of_sums_are_sums() {
    let nested = network(|b| {
        let ids = [1, 3, 5].map(|kernel| add(b, conv(kernel), &[0]));
        let inner = add(b, Layer::Add, &[ids[0], ids[1]]);
        add(b, Layer::Add, &[ids[2], inner])
    });
    let flat = network(|b| {
        let ids = [5, 1, 3].map(|kernel| add(b, conv(kernel), &[0]));
        add(b, Layer::Add, &ids)
    });
    assert_eq!(nested.identity(), flat.identity());
}

#[test]
fn long_chains_of_doubling_sums_stay_small() {
    let graph = network(|b| (0..200).fold(0, |last, _| add(b, Layer::Add, &[last, last])));
    assert_eq!(graph.identity().len(), 32);
}

#[test]
fn the_order_of_a_concatenation_counts_only_where_channels_are_told_apart() {
    let concat = |order: [usize; 2], mixed: bool| {
        network(|b| {
            let ids = [add(b, conv(1), &[0]), add(b, conv(3), &[0])];
            let joined = add(b, Layer::Concat, &[ids[order[0]], ids[order[1]]]);
            if mixed {
                return add(b, conv(3), &[joined]);
            }
            let other = add(b, Layer::Concat, &[ids[0], ids[1]]);
            let sum = add(b, Layer::Add, &[joined, other]);
            add(b, conv(1), &[sum])
        })
        .identity()
    };
    assert_eq!(concat([0, 1], true), concat([1, 0], true));
    assert_ne!(concat([0, 1], false), concat([1, 0], false));
}

#[test]
fn the_order_of_a_concatenation_counts_before_layers_that_do_not_treat_channels_alike() {
    let grouped = |groups| {
        let Layer::Conv(conv) = conv(3) else {
            unreachable!()
        };
        let filters = 8;
        Layer::Conv(Conv {
            groups,
            filters,
            ..conv
        })
    };
    let first = |channels| Layer::Truncate(Truncate { channels });
    let every_second = Layer::Subsample(Subsample {
        stride: 2,
        offset: 0,
    });
    for (layers, counts) in [
        (vec![], false),
        (vec![first(4)], true),
        (vec![first(8)], false),
        (vec![grouped(2)], true),
        (vec![grouped(8)], false),
        (vec![grouped(8), pool(), first(6)], true),
        (vec![grouped(8), conv(1), first(2)], false),
        (
            vec![every_second.clone(), RELU, Layer::Add, Layer::Concat],
            false,
        ),
        (
            vec![Layer::BatchNorm(BatchNorm::default()), Layer::Mean],
            false,
        ),
        (vec![Layer::Flatten, first(9)], true),
        (vec![pool(), Layer::Flatten], false),
    ] {
        let [one, other] = [[1, 2], [2, 1]].map(|order| {
            let graph = network(|b| {
                let (_, _) = (add(b, conv(1), &[0]), add(b, conv(3), &[0]));
                let joined = add(b, Layer::Concat, &order);
                let layers = layers.iter().cloned();
                let last = layers.fold(joined, |last, it| add(b, it, &[last]));
                add(b, conv(1), &[last])
            });
            graph.identity()
        });
        assert_eq!(one != other, counts, "{layers:?}");
    }
}

#[test]
fn a_sum_mean_or_concatenation_of_one_changes_nothing() {
    let with = |layer: Option<Layer>| {
        network(|b| {
            let a = add(b, conv(3), &[0]);
            layer.map_or(a, |layer| add(b, layer, &[a]))
        })
        .identity()
    };
    for layer in [Layer::Add, Layer::Mean, Layer::Concat] {
        assert_eq!(with(Some(layer.clone())), with(None), "{layer:?}");
    }
}

#[test]
fn settings_and_wiring_count() {
    let kernel = |kernel| network(|b| add(b, conv(kernel), &[0])).identity();
    assert_ne!(kernel(3), kernel(5));
    let order = |first: Layer, second: Layer| {
        network(|b| {
            let a = add(b, first, &[0]);
            add(b, second, &[a])
        })
        .identity()
    };
    assert_ne!(order(conv(3), conv(1)), order(conv(1), conv(3)));
    assert_eq!(order(conv(3), Layer::Identity), kernel(3));
}

#[test]
fn relu_after_relu_changes_nothing() {
    let relus = |count: usize| {
        network(|b| {
            let a = add(b, conv(3), &[0]);
            (0..count).fold(a, |last, _| add(b, RELU, &[last]))
        })
        .identity()
    };
    assert_eq!(relus(1), relus(3));
    assert_ne!(relus(0), relus(1));
}

/// A random network: for each node its layer and one or two earlier nodes.
fn recipe() -> impl Strategy<Value = Vec<(u8, usize, usize)>> {
    prop::collection::vec((0u8..6, any::<usize>(), any::<usize>()), 1..12)
}

/// Builds a recipe; every node that nothing uses is summed at the end. `order` says which of the
/// nodes that could come next does, `swap` turns the inputs of sums round.
fn build(recipe: &[(u8, usize, usize)], order: impl Fn(usize) -> usize, swap: bool) -> Graph {
    network(|builder| {
        let mut built = vec![None; recipe.len() + 1];
        built[0] = Some(0);
        let sources: Vec<[usize; 2]> = recipe
            .iter()
            .zip(1..)
            .map(|(&(_, a, b), id)| [a % id, b % id])
            .collect();
        for step in 0..recipe.len() {
            let ready: Vec<usize> = (0..recipe.len())
                .filter(|&id| built[id + 1].is_none())
                .filter(|&id| sources[id].iter().all(|&source| built[source].is_some()))
                .collect();
            let id = ready[order(step) % ready.len()];
            let mut inputs = sources[id].map(|source| built[source].unwrap());
            if swap {
                inputs.reverse();
            }
            let first = built[sources[id][0]].unwrap();
            let node = match recipe[id].0 {
                0 => add(builder, conv(1), &[first]),
                1 => add(builder, conv(3), &[first]),
                2 => add(builder, pool(), &[first]),
                3 => add(builder, RELU, &[first]),
                4 => add(builder, Layer::Zero(Zero { stride: 1 }), &[first]),
                _ => add(builder, Layer::Add, &inputs),
            };
            built[id + 1] = Some(node);
        }
        let mut all: Vec<NodeId> = built.into_iter().flatten().collect();
        if swap {
            all.reverse();
        }
        add(builder, Layer::Add, &all)
    })
}

proptest! {
    #[test]
    fn the_order_of_nodes_and_of_summands_does_not_matter(
        recipe in recipe(),
        order in prop::collection::vec(any::<usize>(), 12),
    ) {
        let straight = build(&recipe, |_| 0, false).identity();
        let shuffled = build(&recipe, |step| order[step], true).identity();
        prop_assert_eq!(straight, shuffled);
    }

    #[test]
    fn one_changed_convolution_changes_the_identity(recipe in recipe(), at in any::<usize>()) {
        let mut changed = recipe.clone();
        let at = at % recipe.len();
        prop_assume!(recipe[at].0 < 2);
        changed[at].0 = 1 - recipe[at].0;
        let source_is_zero = {
            let mut zero = vec![false; recipe.len() + 1];
            for (id, &(op, a, b)) in recipe.iter().enumerate() {
                let (a, b) = (a % (id + 1), b % (id + 1));
                zero[id + 1] = op == 4 || (zero[a] && (op < 5 || zero[b]));
            }
            zero[at + 1]
        };
        let (before, after) = (build(&recipe, |_| 0, false), build(&changed, |_| 0, false));
        prop_assert_eq!(before.identity() == after.identity(), source_is_zero);
    }
}

/// The 423,624 cells of NAS-Bench-101 (Ying et al. 2019, section 2.2), counted by refinement alone:
/// graphs of 2 to 7 vertices, the first the input and the last the output, at most 9 edges, every
/// vertex on a way from one to the other, 3 operations on the inner ones.
#[test]
fn nasbench101_has_423_624_cells() {
    let mut cells = HashSet::new();
    for vertices in 2..=7_usize {
        for edges in wirings(vertices) {
            for operations in 0..3_usize.pow(vertices as u32 - 2) {
                cells.insert(digest(&cell(vertices, &edges, operations)));
            }
        }
    }
    assert_eq!(cells.len(), 423_624);
}

/// Every set of at most 9 edges that leaves no vertex without a way in and a way out.
fn wirings(vertices: usize) -> Vec<Vec<(usize, usize)>> {
    let pairs: Vec<_> = (0..vertices)
        .flat_map(|a| (a + 1..vertices).map(move |b| (a, b)))
        .collect();
    (0_u32..1 << pairs.len())
        .filter(|set| set.count_ones() <= 9)
        .map(|set| {
            let chosen = (0..pairs.len()).filter(|bit| set >> bit & 1 == 1);
            chosen.map(|bit| pairs[bit]).collect::<Vec<_>>()
        })
        .filter(|edges| {
            let starts: HashSet<usize> = edges.iter().map(|edge| edge.0).collect();
            let ends: HashSet<usize> = edges.iter().map(|edge| edge.1).collect();
            starts.len() == vertices - 1 && ends.len() == vertices - 1
        })
        .collect()
}

fn cell(vertices: usize, edges: &[(usize, usize)], operations: usize) -> Reduced {
    let label = |id: usize| match id {
        0 => "in".to_owned(),
        id if id == vertices - 1 => "out".to_owned(),
        id => (operations / 3_usize.pow(id as u32 - 1) % 3).to_string(),
    };
    let inputs = |id: usize| {
        let sources = edges
            .iter()
            .filter(|edge| edge.1 == id)
            .map(|edge| (edge.0, 1));
        Inputs::Multiset(sources.collect::<BTreeMap<usize, u64>>())
    };
    Reduced {
        vertices: (0..vertices)
            .map(|id| Vertex {
                label: label(id),
                inputs: inputs(id),
            })
            .collect(),
        outputs: vec![(vertices - 1, "output".to_owned())],
    }
}

#[test]
fn a_long_chain_of_residual_blocks_does_not_take_the_square_of_its_length() {
    const BLOCKS: usize = 2_000;
    let mut builder = Builder::new(IMAGE, 3);
    let mut x = 0;
    for _ in 0..BLOCKS {
        let change = builder.layer("conv", conv(1), &[x]).unwrap();
        x = builder.layer("add", Layer::Add, &[x, change]).unwrap();
    }
    let pooled = builder
        .layer("pool", Layer::GlobalAveragePool, &[x])
        .unwrap();
    let head = Layer::Linear(Linear {
        units: 3,
        bias: true,
    });
    let logits = builder.layer("head", head, &[pooled]).unwrap();
    let reduced = super::simplify::simplify(&builder.finish(logits).unwrap());
    let inputs = reduced.vertices.iter().map(|vertex| match &vertex.inputs {
        Inputs::Ordered(inputs) => inputs.len(),
        Inputs::Multiset(inputs) => inputs.len(),
    });
    // Each sum would else have one term more than the one before: two millions in all.
    assert!(inputs.sum::<usize>() < 400_000);
}

//! Shapes, parameters and MACs of each layer, against numbers worked out by hand.

use super::*;
use crate::{Padding, Parameter};

const IMAGE: Shape = shape(32, 32, 16);

const fn shape(height: usize, width: usize, channels: usize) -> Shape {
    Shape {
        height,
        width,
        channels,
    }
}

fn conv(kernel: usize, stride: usize, filters: usize) -> Conv {
    Conv {
        kernel: [kernel; 2],
        stride: [stride; 2],
        dilation: [1; 2],
        padding: Padding::Same,
        groups: 1,
        filters,
        bias: false,
    }
}

fn pool(kind: PoolKind, kernel: usize, stride: usize, padding: Padding) -> Layer {
    Layer::Pool(Pool {
        kind,
        kernel: [kernel; 2],
        stride: [stride; 2],
        padding,
    })
}

fn count(layer: &Layer, input: Shape) -> u64 {
    layer.parameters(input).iter().map(Parameter::len).sum()
}

#[test]
fn conv_keeps_the_size_and_counts_its_weights() {
    let layer = Layer::Conv(conv(3, 1, 24));
    let output = layer.infer(&[IMAGE]).unwrap();
    assert_eq!(output, shape(32, 32, 24));
    assert_eq!(layer.parameters(IMAGE)[0].dims, [3, 3, 16, 24]);
    assert_eq!(count(&layer, IMAGE), 3 * 3 * 16 * 24);
    assert_eq!(layer.macs(IMAGE, output), 32 * 32 * 3 * 3 * 16 * 24);
}

#[test]
fn depthwise_conv_has_one_filter_a_channel() {
    let layer = Layer::Conv(Conv {
        groups: 16,
        bias: true,
        ..conv(5, 2, 16)
    });
    let output = layer.infer(&[IMAGE]).unwrap();
    assert_eq!(output, shape(16, 16, 16));
    assert_eq!(layer.parameters(IMAGE)[0].dims, [5, 5, 1, 16]);
    assert_eq!(count(&layer, IMAGE), 5 * 5 * 16 + 16);
    assert_eq!(layer.macs(IMAGE, output), 16 * 16 * 5 * 5 * 16);
}

#[test]
fn rectangular_dilated_and_unpadded_windows() {
    let rectangular = Layer::Conv(Conv {
        kernel: [1, 7],
        stride: [1, 2],
        ..conv(1, 1, 8)
    });
    assert_eq!(rectangular.infer(&[IMAGE]).unwrap(), shape(32, 16, 8));
    let dilated = Layer::Conv(Conv {
        dilation: [2, 2],
        ..conv(3, 1, 8)
    });
    assert_eq!(dilated.infer(&[IMAGE]).unwrap(), shape(32, 32, 8));
    let valid = Layer::Conv(Conv {
        padding: Padding::Valid,
        ..conv(5, 2, 8)
    });
    assert_eq!(valid.infer(&[IMAGE]).unwrap(), shape(14, 14, 8));
    let explicit = Layer::Conv(Conv {
        padding: Padding::Explicit([1, 2, 3, 3]),
        ..conv(3, 1, 8)
    });
    assert_eq!(explicit.infer(&[IMAGE]).unwrap(), shape(33, 36, 8));
}

#[test]
fn a_convolution_has_padding_up_to_its_window() {
    let padded = |kernel, dilation, sides| {
        let layer = Layer::Conv(Conv {
            padding: Padding::Explicit(sides),
            dilation: [dilation; 2],
            ..conv(kernel, 1, 8)
        });
        layer.infer(&[IMAGE]).map_err(|error| error.to_string())
    };
    assert_eq!(padded(1, 1, [1; 4]), Ok(shape(34, 34, 8)));
    assert_eq!(padded(3, 2, [5, 0, 0, 0]), Ok(shape(33, 28, 8)));
    for sides in [[6, 0, 0, 0], [0, 6, 0, 0], [0, 0, 6, 0], [0, 0, 0, 4000]] {
        let error = padded(3, 2, sides).unwrap_err();
        assert!(error.contains("larger than the 5x5 window"), "{error}");
    }
}

#[test]
fn same_padding_gives_the_ceiling_of_extent_over_stride() {
    for extent in 1..40 {
        for kernel in 1..8 {
            for stride in 1..4 {
                let output =
                    Layer::Conv(conv(kernel, stride, 1)).infer(&[shape(extent, extent, 1)]);
                assert_eq!(
                    output.unwrap().height,
                    extent.div_ceil(stride),
                    "{extent} {kernel}"
                );
            }
        }
    }
}

#[test]
fn pooling_halves_and_has_no_parameters() {
    let max = pool(PoolKind::Max, 3, 2, Padding::Same);
    assert_eq!(max.infer(&[shape(15, 8, 4)]).unwrap(), shape(8, 4, 4));
    assert_eq!(count(&max, IMAGE), 0);
    assert_eq!(max.macs(IMAGE, IMAGE), 0);
    let valid = pool(PoolKind::Average, 2, 2, Padding::Valid);
    assert_eq!(valid.infer(&[shape(15, 8, 4)]).unwrap(), shape(7, 4, 4));
}

#[test]
fn a_pooling_window_must_see_something() {
    let padded = pool(PoolKind::Max, 2, 2, Padding::Explicit([2, 0, 0, 0]));
    assert!(
        padded
            .infer(&[IMAGE])
            .unwrap_err()
            .to_string()
            .contains("below the kernel")
    );
}

#[test]
fn batch_norm_has_a_scale_and_a_shift_a_channel() {
    assert_eq!(count(&Layer::BatchNorm(BatchNorm::default()), IMAGE), 32);
    let plain = BatchNorm {
        scale_and_shift: false,
        ..BatchNorm::default()
    };
    assert_eq!(count(&Layer::BatchNorm(plain), IMAGE), 0);
}

#[test]
fn linear_takes_a_vector() {
    let layer = Layer::Linear(Linear {
        units: 10,
        bias: true,
    });
    let input = shape(1, 1, 64);
    let output = layer.infer(&[input]).unwrap();
    assert_eq!(output, shape(1, 1, 10));
    assert_eq!(count(&layer, input), 650);
    assert_eq!(layer.macs(input, output), 640);
    assert!(
        layer
            .infer(&[IMAGE])
            .unwrap_err()
            .remedy
            .contains("flatten")
    );
}

#[test]
fn joins_say_both_shapes() {
    let (a, b) = (shape(8, 8, 4), shape(8, 8, 6));
    assert_eq!(Layer::Add.infer(&[a, a, a]).unwrap(), a);
    let message = Layer::Add.infer(&[a, b]).unwrap_err().to_string();
    assert!(
        message.contains("8x8x4") && message.contains("8x8x6"),
        "{message}"
    );
    assert_eq!(Layer::Concat.infer(&[a, b]).unwrap(), shape(8, 8, 10));
    assert!(Layer::Concat.infer(&[a, shape(4, 8, 4)]).is_err());
    assert!(Layer::Add.infer(&[]).is_err());
}

#[test]
fn a_gate_is_broadcast() {
    let gate = shape(1, 1, 16);
    assert_eq!(Layer::Multiply.infer(&[IMAGE, gate]).unwrap(), IMAGE);
    assert!(Layer::Multiply.infer(&[gate, IMAGE]).is_err());
    assert!(Layer::Multiply.infer(&[IMAGE]).is_err());
}

#[test]
fn subsampling_gives_one_size_for_every_offset() {
    for offset in 0..2 {
        let layer = Layer::Subsample(Subsample { stride: 2, offset });
        assert_eq!(layer.infer(&[shape(7, 8, 3)]).unwrap(), shape(4, 4, 3));
    }
    assert!(
        Layer::Subsample(Subsample {
            stride: 2,
            offset: 2
        })
        .infer(&[IMAGE])
        .is_err()
    );
}

#[test]
fn truncation_takes_no_more_than_there_is() {
    let infer = |channels| Layer::Truncate(Truncate { channels }).infer(&[IMAGE]);
    assert_eq!(infer(5).unwrap(), shape(IMAGE.height, IMAGE.width, 5));
    assert_eq!(infer(16).unwrap(), IMAGE);
    assert!(infer(0).is_err() && infer(17).is_err());
}

#[test]
fn vectors() {
    assert_eq!(
        Layer::GlobalAveragePool.infer(&[IMAGE]).unwrap(),
        shape(1, 1, 16)
    );
    assert_eq!(
        Layer::Flatten.infer(&[shape(7, 7, 512)]).unwrap(),
        shape(1, 1, 25088)
    );
}

#[test]
fn zero_follows_its_stride() {
    assert_eq!(
        Layer::Zero(Zero { stride: 2 })
            .infer(&[shape(9, 9, 3)])
            .unwrap(),
        shape(5, 5, 3)
    );
}

#[test]
fn absurd_numbers_are_refused_and_do_not_overflow() {
    assert!(Layer::Conv(conv(0, 1, 8)).infer(&[IMAGE]).is_err());
    assert!(Layer::Conv(conv(3, 0, 8)).infer(&[IMAGE]).is_err());
    assert!(Layer::Conv(conv(3, 1, 0)).infer(&[IMAGE]).is_err());
    assert!(Layer::Conv(conv(usize::MAX, 1, 8)).infer(&[IMAGE]).is_err());
    assert!(Layer::Conv(conv(3, 1, usize::MAX)).infer(&[IMAGE]).is_err());
    assert!(
        Layer::Conv(Conv {
            groups: 5,
            ..conv(3, 1, 10)
        })
        .infer(&[IMAGE])
        .is_err()
    );
    assert!(
        Layer::Dropout(Dropout { rate: 1.0 })
            .infer(&[IMAGE])
            .is_err()
    );
    assert!(
        Layer::DropPath(DropPath {
            rate: f64::NAN,
            scheduled: true
        })
        .infer(&[IMAGE])
        .is_err()
    );
    let huge = shape(MAX_EXTENT, MAX_EXTENT, MAX_EXTENT);
    let layer = Layer::Conv(conv(MAX_WINDOW, 1, MAX_EXTENT));
    assert_eq!(layer.macs(huge, huge), u64::MAX);
    assert_eq!(count(&layer, huge), u64::MAX);
    assert!(Layer::Flatten.infer(&[huge]).is_err());
}

#[test]
fn layers_survive_json() {
    let layers = [
        Layer::Input,
        Layer::Conv(conv(3, 2, 8)),
        Layer::BatchNorm(BatchNorm::default()),
        Layer::Activation(Activation::HardSwish),
        pool(PoolKind::Average, 3, 2, Padding::Explicit([0, 1, 0, 1])),
        Layer::DropPath(DropPath {
            rate: 0.25,
            scheduled: false,
        }),
        Layer::Zero(Zero { stride: 2 }),
    ];
    for layer in layers {
        let text = serde_json::to_string(&layer).unwrap();
        assert_eq!(
            serde_json::from_str::<Layer>(&text).unwrap(),
            layer,
            "{text}"
        );
    }
}

/// Graphs are kept in the tables of runs.
#[test]
fn a_drop_path_written_before_there_was_a_choice_is_scheduled() {
    let drop: DropPath = serde_json::from_str(r#"{"rate":0.25}"#).unwrap();
    assert!(drop.scheduled);
}

//! Defaults and words of the vocabulary.

use cellwright_space::Argument;

use super::arguments::missing;
use super::{layer, vocabulary};
use crate::{Layer, Padding, Shape};

const IMAGE: Shape = Shape {
    height: 32,
    width: 32,
    channels: 16,
};

fn make(name: &str, given: &[(&str, Argument)]) -> Result<Layer, String> {
    let primitive = vocabulary().find(name).unwrap();
    let specs = &vocabulary().primitives[primitive].arguments;
    let mut values = vec![None; specs.len()];
    for (key, value) in given {
        let index = specs.iter().position(|spec| spec.name == *key).unwrap();
        values[index] = Some(*value);
    }
    layer(primitive, &values, &[IMAGE])
}

#[test]
fn names_are_unique() {
    let mut names: Vec<_> = vocabulary().primitives.iter().map(|it| it.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), vocabulary().primitives.len());
}

#[test]
fn every_layer_is_called_as_its_primitive() {
    for primitive in &vocabulary().primitives {
        let given: Vec<_> = primitive
            .arguments
            .iter()
            .filter(|spec| spec.default.is_none())
            .map(|spec| (spec.name, required(spec.kind)))
            .collect();
        let op = make(primitive.name, &given).unwrap().op();
        let expected = if primitive.name == "depthwise" {
            "conv"
        } else {
            primitive.name
        };
        assert_eq!(op, expected);
    }
}

fn required(kind: cellwright_space::ArgumentKind) -> Argument {
    match kind {
        cellwright_space::ArgumentKind::Whole => Argument::Whole(2),
        cellwright_space::ArgumentKind::Pair => Argument::Pair([3, 3]),
        _ => Argument::Number(0.5),
    }
}

#[test]
fn depthwise_takes_its_width_from_its_input() {
    let given = [
        ("kernel", Argument::Pair([5, 5])),
        ("multiplier", Argument::Whole(2)),
    ];
    let Ok(Layer::Conv(conv)) = make("depthwise", &given) else {
        panic!("a convolution")
    };
    assert_eq!((conv.groups, conv.filters), (16, 32));
    assert_eq!((conv.padding, conv.stride), (Padding::Same, [1, 1]));
}

#[test]
fn drop_path_is_scheduled_unless_it_says_otherwise() {
    let rate = ("rate", Argument::Number(0.5));
    for (given, scheduled) in [
        (&[rate][..], true),
        (&[rate, ("scheduled", Argument::Bool(false))], false),
    ] {
        let Ok(Layer::DropPath(drop)) = make("drop_path", given) else {
            panic!("a drop path")
        };
        assert_eq!((drop.rate, drop.scheduled), (0.5, scheduled));
        let begins_with = if scheduled { 0.0 } else { 0.5 };
        assert_eq!(drop.rate_at(0.0), begins_with);
        assert_eq!(drop.rate_at(1.0), 0.5);
    }
}

#[test]
fn what_must_be_given_is_asked_for() {
    assert_eq!(make("conv", &[]).unwrap_err(), "`conv` needs `filters`");
}

#[test]
fn ceil_completes_the_last_window_that_starts_inside() {
    // (extent, kernel, stride) and what the windows need beyond the end
    for (extent, kernel, stride, expected) in [
        (112, 3, 2, 1),
        (109, 3, 2, 0),
        (54, 3, 2, 1),
        (4, 2, 2, 0),
        (5, 2, 2, 1),
        (4, 1, 3, 0),
        (5, 1, 3, 0),
        (2, 3, 2, 1),
    ] {
        assert_eq!(
            missing(extent, kernel, stride),
            expected,
            "{extent} {kernel} {stride}"
        );
    }
    let given = [
        ("kernel", Argument::Pair([3, 3])),
        ("stride", Argument::Pair([2, 2])),
        ("padding", Argument::Word(2)),
    ];
    let pooled = make("max_pool", &given).unwrap().infer(&[IMAGE]).unwrap();
    assert_eq!((pooled.height, pooled.width), (16, 16));
}

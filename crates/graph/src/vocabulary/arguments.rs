//! Reads the arguments of a call, each of the kind that its entry promises.

use cellwright_space::Argument;

use super::entries::Entry;
use crate::{Padding, Shape};

/// The words that a padding may be, in the order of [`Argument::Word`].
pub(super) const PADDINGS: &[&str] = &["same", "valid", "ceil"];

/// The arguments of one call.
pub(super) struct Arguments<'a> {
    pub(super) entry: &'a Entry,
    pub(super) values: &'a [Option<Argument>],
    pub(super) inputs: &'a [Shape],
}

impl Arguments<'_> {
    fn get(&self, name: &str) -> Option<Argument> {
        let index = self.entry.arguments.iter().position(|it| it.name == name)?;
        self.values.get(index).copied().flatten()
    }

    fn wrong<T>(&self, name: &str) -> Result<T, String> {
        Err(format!("`{}` needs `{name}`", self.entry.name))
    }

    pub(super) fn whole(&self, name: &str, default: Option<usize>) -> Result<usize, String> {
        match (self.get(name), default) {
            (Some(Argument::Whole(value)), _) | (None, Some(value)) => Ok(value),
            _ => self.wrong(name),
        }
    }

    pub(super) fn number(&self, name: &str, default: Option<f64>) -> Result<f64, String> {
        match (self.get(name), default) {
            (Some(Argument::Number(value)), _) | (None, Some(value)) => Ok(value),
            _ => self.wrong(name),
        }
    }

    pub(super) fn flag(&self, name: &str, default: bool) -> Result<bool, String> {
        match self.get(name) {
            Some(Argument::Bool(value)) => Ok(value),
            None => Ok(default),
            _ => self.wrong(name),
        }
    }

    pub(super) fn pair(&self, name: &str, default: Option<usize>) -> Result<[usize; 2], String> {
        match (self.get(name), default) {
            (Some(Argument::Pair(pair)), _) => Ok(pair),
            (None, Some(value)) => Ok([value; 2]),
            _ => self.wrong(name),
        }
    }

    /// The border of a window layer. `ceil` is worked out for the first input.
    pub(super) fn padding(
        &self,
        kernel: [usize; 2],
        stride: [usize; 2],
    ) -> Result<Padding, String> {
        match self.get("padding") {
            None | Some(Argument::Word(0)) => Ok(Padding::Same),
            Some(Argument::Word(1)) => Ok(Padding::Valid),
            Some(Argument::Word(2)) => {
                let input = self.first()?;
                let bottom = missing(input.height, kernel[0], stride[0]);
                let right = missing(input.width, kernel[1], stride[1]);
                Ok(Padding::Explicit([0, bottom, 0, right]))
            }
            Some(Argument::Sides(sides)) => Ok(Padding::Explicit(sides)),
            _ => self.wrong("padding"),
        }
    }

    /// The shape of the first input.
    pub(super) fn first(&self) -> Result<Shape, String> {
        match self.inputs.first() {
            Some(shape) => Ok(*shape),
            None => Err(format!("`{}` takes an input", self.entry.name)),
        }
    }
}

/// How many values the last window lacks that starts inside of the input.
pub(super) fn missing(extent: usize, kernel: usize, stride: usize) -> usize {
    if stride == 0 {
        return 0; // refused when shapes are inferred
    }
    let windows = extent.saturating_sub(kernel).div_ceil(stride);
    let last = if windows * stride < extent {
        windows * stride
    } else {
        (windows - 1) * stride
    };
    last.saturating_add(kernel).saturating_sub(extent)
}

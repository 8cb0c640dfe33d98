//! From a primitive's arguments to its layer.

use super::arguments::Arguments;
use crate::{BatchNorm, Conv, Layer, Linear, Pool, PoolKind, Subsample};

pub(super) fn conv(it: &Arguments) -> Result<Layer, String> {
    let (kernel, stride) = (it.pair("kernel", Some(1))?, it.pair("stride", Some(1))?);
    Ok(Layer::Conv(Conv {
        kernel,
        stride,
        dilation: it.pair("dilation", Some(1))?,
        padding: it.padding(kernel, stride)?,
        groups: it.whole("groups", Some(1))?,
        filters: it.whole("filters", None)?,
        bias: it.flag("bias", false)?,
    }))
}

pub(super) fn depthwise(it: &Arguments) -> Result<Layer, String> {
    let (kernel, stride) = (it.pair("kernel", None)?, it.pair("stride", Some(1))?);
    let channels = it.first()?.channels;
    Ok(Layer::Conv(Conv {
        kernel,
        stride,
        dilation: it.pair("dilation", Some(1))?,
        padding: it.padding(kernel, stride)?,
        groups: channels,
        filters: channels.saturating_mul(it.whole("multiplier", Some(1))?),
        bias: it.flag("bias", false)?,
    }))
}

pub(super) fn batch_norm(it: &Arguments) -> Result<Layer, String> {
    let default = BatchNorm::default();
    Ok(Layer::BatchNorm(BatchNorm {
        momentum: it.number("momentum", Some(default.momentum))?,
        epsilon: it.number("epsilon", Some(default.epsilon))?,
        scale_and_shift: it.flag("scale_and_shift", default.scale_and_shift)?,
    }))
}

pub(super) fn pool(it: &Arguments, kind: PoolKind) -> Result<Layer, String> {
    let (kernel, stride) = (it.pair("kernel", None)?, it.pair("stride", Some(1))?);
    Ok(Layer::Pool(Pool {
        kind,
        kernel,
        stride,
        padding: it.padding(kernel, stride)?,
    }))
}

pub(super) fn linear(it: &Arguments) -> Result<Layer, String> {
    Ok(Layer::Linear(Linear {
        units: it.whole("units", None)?,
        bias: it.flag("bias", true)?,
    }))
}

pub(super) fn subsample(it: &Arguments) -> Result<Layer, String> {
    Ok(Layer::Subsample(Subsample {
        stride: it.whole("stride", Some(2))?,
        offset: it.whole("offset", Some(0))?,
    }))
}

//! Which buffers a call reads and writes.

use super::{Buffer, Call, Prologue, Share, Target};

/// The buffers of one call.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Accesses {
    /// What is read.
    pub reads: Vec<Buffer>,
    /// What is written, or added to.
    pub writes: Vec<Buffer>,
}

impl Accesses {
    fn read(mut self, buffers: impl IntoIterator<Item = Buffer>) -> Self {
        self.reads.extend(buffers);
        self
    }

    fn write(mut self, buffers: impl IntoIterator<Item = Buffer>) -> Self {
        self.writes.extend(buffers);
        self
    }

    fn target(self, target: impl Into<Option<Target>>) -> Self {
        self.write(target.into().map(|target| target.buffer))
    }
}

fn factors(share: &Share) -> Option<Buffer> {
    match share {
        Share::All(_) => None,
        Share::Images { factors, .. } => Some(*factors),
    }
}

fn coefficients(prologue: &Prologue) -> Option<Buffer> {
    prologue.norm
}

impl Call {
    /// The buffers that the call reads and writes; [`Call::Update`] touches parameters, gradients and
    /// losses, which live as long as the program.
    pub fn accesses(&self) -> Accesses {
        let none = Accesses::default();
        match self {
            Call::Zero { y } => none.write([*y]),
            Call::Conv {
                prologue,
                x,
                w,
                bias,
                y,
                ..
            } => none
                .read([*x, *w])
                .read(*bias)
                .read(coefficients(prologue))
                .write([*y]),
            Call::ConvGradient {
                prologue,
                x,
                w,
                dy,
                dx,
                dw,
                ..
            } => none
                .read([*x, *w, *dy])
                .read(coefficients(prologue))
                .target(*dx)
                .write([*dw]),
            Call::BiasGradient { dy, dbias } => none.read([*dy]).write([*dbias]),
            Call::Linear { x, w, bias, y, .. } => none.read([*x, *w]).read(*bias).write([*y]),
            Call::LinearGradient {
                x, w, dy, dx, dw, ..
            } => none.read([*x, *w, *dy]).target(*dx).write([*dw]),
            Call::Statistics {
                x,
                norm,
                coefficients,
                ..
            } => none
                .read([*x])
                .read(norm.scale.into_iter().chain(norm.shift))
                .write([norm.running, *coefficients]),
            Call::RunningStatistics {
                norm, coefficients, ..
            } => none
                .read([norm.running])
                .read(norm.scale.into_iter().chain(norm.shift))
                .write([*coefficients]),
            Call::Normalise {
                x, coefficients, y, ..
            } => none.read([*x, *coefficients]).write([*y]),
            Call::NormGradient {
                x,
                dy,
                share,
                coefficients,
                terms,
                dscale,
                dshift,
                dx,
                ..
            } => none
                .read([*x, *dy, *coefficients])
                .read(factors(share))
                .write([*terms])
                .write(dscale.iter().chain(dshift).copied())
                .target(*dx),
            Call::Activation { x, y, .. } | Call::GlobalAveragePool { x, y, .. } => {
                none.read([*x]).write([*y])
            }
            Call::Subsample { x, y, .. } | Call::Truncate { x, y, .. } => {
                none.read([*x]).write([*y])
            }
            Call::ActivationGradient { x, dy, dx, .. } => none.read([*x, *dy]).target(*dx),
            Call::Pool { x, y, places, .. } => none.read([*x]).write([*y]).write(*places),
            Call::PoolGradient { dy, places, dx, .. } => none.read([*dy]).read(*places).target(*dx),
            Call::GlobalAveragePoolGradient { dy, dx, .. }
            | Call::SubsampleGradient { dy, dx, .. }
            | Call::TruncateGradient { dy, dx, .. } => none.read([*dy]).target(*dx),
            Call::Combine { terms, y, .. } => none
                .read(terms.iter().map(|it| it.x))
                .read(terms.iter().filter_map(|it| it.norm))
                .read(terms.iter().filter_map(|it| factors(&it.share)))
                .write([*y]),
            Call::CombineGradient { dy, y, targets, .. } => none
                .read([*dy])
                .read(*y)
                .read(targets.iter().filter_map(|(_, share)| factors(share)))
                .write(targets.iter().map(|(target, _)| target.buffer)),
            Call::ConcatGradient { dy, targets, .. } => none
                .read([*dy])
                .write(targets.iter().map(|(target, _)| target.buffer)),
            Call::Concat { inputs, y, .. } => none.read(inputs.iter().map(|(x, _)| *x)).write([*y]),
            Call::Product { a, b, y, .. } => none.read([*a, *b]).write([*y]),
            Call::ProductGradient { other, dy, dx, .. } => none.read([*other, *dy]).target(*dx),
            Call::Multiply { x, gate, y, .. } => none.read([*x, *gate]).write([*y]),
            Call::MultiplyGradient { gate, dy, dx, .. } => none.read([*gate, *dy]).target(*dx),
            Call::GateGradient { x, dy, dgate, .. } => none.read([*x, *dy]).target(*dgate),
            Call::Dropout { x, y, .. } => none.read([*x]).target(*y),
            Call::DropPaths { factors, .. } => none.write([*factors]),
            Call::Loss {
                logits,
                losses,
                ranks,
                gradient,
                ..
            } => none
                .read([*logits])
                .write(losses.iter().chain(ranks).copied())
                .target(*gradient),
            Call::Update => none,
        }
    }
}

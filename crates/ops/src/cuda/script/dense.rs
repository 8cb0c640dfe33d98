//! Dense convolutions that a library does. Its filters lie F × kh × kw × C, ours kh × kw × C × F: they are
//! transposed before, and their gradient after.

use super::{Work, Writer};
use crate::Error;
use crate::conv2d::geometry::Geometry;
use crate::cuda::Pointer;
use crate::cuda::kernels::transpose::transpose;
use crate::program::{Buffer, Call, Program, Target};

/// Which of a convolution's products.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pass {
    /// The output, of the input and the filters.
    Forward,
    /// The input's gradient, of the output's and the filters.
    Input,
    /// The filters' gradient, of the input and the output's.
    Filters,
}

/// A dense convolution or a gradient of one; NHWC, filters F × kh × kw × C.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dense {
    /// What is written: the other two are read.
    pub pass: Pass,
    /// The sizes; one group.
    pub geometry: Geometry,
    /// The input or its gradient.
    pub x: Pointer,
    /// The filters or their gradient.
    pub filters: Pointer,
    /// The output or its gradient.
    pub y: Pointer,
    /// Whether the result is added to what is there.
    pub add: bool,
}

/// What a library does of a program, and the words that it computes in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Library {
    /// The convolutions.
    pub convolutions: Vec<Geometry>,
    /// Words of its workspace.
    pub workspace: usize,
}

impl Library {
    /// The convolutions of a program for which a library is worth asking, each once: dense ones beyond
    /// products of matrices, of channels that tensor cores take in fours, with the same border on both
    /// sides.
    #[must_use]
    pub fn candidates(program: &Program) -> Vec<Geometry> {
        let mut found = Vec::new();
        for call in program.calls() {
            if let Call::Conv { geometry, .. } = call
                && is_candidate(geometry)
                && !found.contains(geometry)
            {
                found.push(*geometry);
            }
        }
        found
    }

    /// Words of the largest filters.
    pub(super) fn filters(&self) -> usize {
        let weights = self.convolutions.iter().map(Geometry::weights);
        weights.max().unwrap_or(0)
    }
}

fn is_candidate(g: &Geometry) -> bool {
    let [top, _, left, _] = g.conv.padding;
    // The border at the far side only matters as far as it makes outputs.
    let outputs = |size: usize, border: usize, axis: usize| {
        (size + 2 * border)
            .checked_sub(g.span()[axis])
            .map(|it| it / g.conv.stride[axis] + 1)
    };
    let symmetric = outputs(g.height, top, 0) == Some(g.out_height)
        && outputs(g.width, left, 1) == Some(g.out_width);
    let fours = g.channels.is_multiple_of(4) && g.filters.is_multiple_of(4);
    g.conv.groups == 1 && !g.is_pointwise() && fours && symmetric
}

impl Writer<'_> {
    pub(super) fn by_library(&self, geometry: &Geometry) -> bool {
        self.script.library.convolutions.contains(geometry)
    }

    /// y = x · w.
    pub(super) fn dense(
        &mut self,
        geometry: Geometry,
        [x, w, y]: [Buffer; 3],
    ) -> Result<(), Error> {
        let filters = self.filters(&geometry, w)?;
        self.pass(
            Pass::Forward,
            geometry,
            [self.at(x), filters, self.at(y)],
            false,
        );
        Ok(())
    }

    /// The gradients of the weight and the input.
    pub(super) fn dense_gradient(
        &mut self,
        geometry: Geometry,
        [x, w, dy]: [Buffer; 3],
        dx: Option<Target>,
        dw: Buffer,
    ) -> Result<(), Error> {
        let (x, dy, dw) = (self.at(x), self.at(dy), self.at(dw));
        let filters = self.word(self.script.layout.filters);
        self.pass(Pass::Filters, geometry, [x, filters, dy], false);
        let terms = geometry.weights() / geometry.filters;
        self.push(transpose(filters, dw, geometry.filters, terms)?);
        if let Some(dx) = dx {
            let filters = self.filters(&geometry, w)?;
            self.pass(
                Pass::Input,
                geometry,
                [self.at(dx.buffer), filters, dy],
                dx.add,
            );
        }
        Ok(())
    }

    fn pass(&mut self, pass: Pass, geometry: Geometry, [x, filters, y]: [Pointer; 3], add: bool) {
        self.work.push(Work::Dense(Dense {
            pass,
            geometry,
            x,
            filters,
            y,
            add,
        }));
    }

    /// The weight as the library's filters, in memory that all convolutions share.
    fn filters(&mut self, geometry: &Geometry, w: Buffer) -> Result<Pointer, Error> {
        let filters = self.word(self.script.layout.filters);
        let terms = geometry.weights() / geometry.filters;
        self.push(transpose(self.at(w), filters, terms, geometry.filters)?);
        Ok(filters)
    }
}

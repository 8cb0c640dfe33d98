//! Dense convolutions that a library does. Its filters lie F × kh × kw × C, ours kh × kw × C × F: they are
//! transposed before, which serves the backward pass too, and their gradient after.

use std::ops::Range;

use super::pairs::ConvGradient;
use super::{Work, Writer};
use crate::Error;
use crate::conv2d::geometry::Geometry;
use crate::cuda::Pointer;
use crate::cuda::kernels::transpose::{transpose, transpose_gradient};
use crate::program::{Buffer, Call, Program};

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
    /// Whether all three are bfloat16.
    pub bf16: bool,
    /// What the library computes in.
    pub workspace: Pointer,
}

/// What a library does of a program, and the words that it computes in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Library {
    /// The convolutions.
    pub convolutions: Vec<Geometry>,
    /// Words that one of them computes in.
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
    g.conv.groups == 1 && !g.is_pointwise() && !g.is_single() && fours && symmetric
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
        let filters = self.library_words(w, 0);
        self.touching(&[w], &[]);
        self.touches.writes.push(filters.clone());
        let terms = geometry.weights() / geometry.filters;
        let to = self.word(filters.start);
        self.push(transpose(self.at(w), to, terms, geometry.filters)?);
        self.touching(&[x], &[y]);
        self.touches.reads.push(filters);
        let tensors = [self.at(x), to, self.at(y)];
        self.pass(Pass::Forward, geometry, tensors, false);
        Ok(())
    }

    /// The gradients of the weight and the input.
    pub(super) fn dense_gradient(&mut self, of: &ConvGradient) -> Result<(), Error> {
        let geometry = of.geometry;
        let (filters, gradient) = (self.library_words(of.w, 0), self.library_words(of.w, 1));
        let from = self.word(gradient.start);
        self.touching(&[of.x, of.dy], &[]);
        self.touches.writes.push(gradient.clone());
        let tensors = [self.at(of.x), from, self.at(of.dy)];
        self.pass(Pass::Filters, geometry, tensors, false);
        self.touching(&[], &[of.dw]);
        self.touches.reads.push(gradient);
        let terms = geometry.weights() / geometry.filters;
        let to = self.at(of.dw);
        self.push(transpose_gradient(from, to, geometry.filters, terms)?);
        if let Some(dx) = of.dx {
            // The forward pass has left the filters there.
            let tensors = [self.at(dx.buffer), self.word(filters.start), self.at(of.dy)];
            self.touching(&[of.dy], &[dx.buffer]);
            self.touches.reads.push(filters);
            self.pass(Pass::Input, geometry, tensors, dx.add);
        }
        Ok(())
    }

    /// A pass in the next of the workspaces.
    fn pass(&mut self, pass: Pass, geometry: Geometry, [x, filters, y]: [Pointer; 3], add: bool) {
        let layout = &self.script.layout;
        let start = layout.workspaces[self.passes % layout.workspaces.len()];
        self.passes += 1;
        let words = start..start + self.script.library.workspace;
        self.touches.writes.push(words);
        self.write(Work::Dense(Dense {
            pass,
            geometry,
            x,
            filters,
            y,
            add,
            bf16: self.bf16,
            workspace: self.word(start),
        }));
    }

    /// The words of a weight's filters (0) or of their gradient (1), as the library has them.
    fn library_words(&self, w: Buffer, which: usize) -> Range<usize> {
        let len = self.script.program.span(w).len;
        let starts = self.script.layout.filters.get(&w);
        let start = starts.map_or(0, |it| it[which]);
        start..start + len
    }
}

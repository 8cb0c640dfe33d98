//! Shapes of a convolution, checked, and how its work is cut into tiles.

use std::ops::Range;

use crate::Error;

/// Filters that a narrow product has at most; see [`Geometry::is_narrow_product`].
const NARROW_FILTERS: usize = 64;
/// Numbers that its weight has at most.
pub const NARROW_WEIGHT: usize = 192 * 192;

/// What a convolution does beside multiplying: its steps, borders and groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conv2d {
    /// Step between outputs: down, right.
    pub stride: [usize; 2],
    /// Step between taps: down, right.
    pub dilation: [usize; 2],
    /// Zeros around the input: top, bottom, left, right.
    pub padding: [usize; 4],
    /// Groups of channels that are convolved apart; as many as channels for a depthwise convolution.
    pub groups: usize,
}

impl Default for Conv2d {
    fn default() -> Self {
        Self {
            stride: [1, 1],
            dilation: [1, 1],
            padding: [0; 4],
            groups: 1,
        }
    }
}

impl Conv2d {
    /// The same convolution with the padding that keeps the size at stride 1; for even kernels the
    /// odd zero goes to the bottom and the right.
    pub fn same(self, kernel: [usize; 2]) -> Self {
        let [rows, columns] = [0, 1].map(|i| self.dilation[i] * kernel[i].saturating_sub(1));
        Self {
            padding: [
                rows / 2,
                rows - rows / 2,
                columns / 2,
                columns - columns / 2,
            ],
            ..self
        }
    }
}

/// All numbers of one convolution's shapes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Geometry {
    /// Images of the batch.
    pub images: usize,
    /// Rows of an input image.
    pub height: usize,
    /// Columns of an input image.
    pub width: usize,
    /// Channels of the input.
    pub channels: usize,
    /// Height and width of the kernel.
    pub kernel: [usize; 2],
    /// Channels of the output.
    pub filters: usize,
    /// Rows of an output image.
    pub out_height: usize,
    /// Columns of an output image.
    pub out_width: usize,
    /// Steps, borders and groups.
    pub conv: Conv2d,
}

/// Pixels that a tile of the output has at least, where images are small: enough to reuse a weight
/// that comes from the third-level cache.
const TILE_PIXELS: usize = 64;
/// Numbers of a tile's input at most, where an image can be cut: it shall stay in a core's cache.
const TILE_INPUT: usize = 96 * 1024;

impl Geometry {
    /// Checks that an input `N × H × W × C`, a weight `kh × kw × C/groups × F` and `conv` go together.
    ///
    /// # Errors
    /// [`Error::Shape`] where they do not; `operation` is named in it.
    pub fn new(
        operation: &'static str,
        x: (usize, usize, usize, usize),
        w: (usize, usize, usize, usize),
        conv: Conv2d,
    ) -> Result<Self, Error> {
        let (images, height, width, channels) = x;
        let (kh, kw, in_group, filters) = w;
        let fail = |what: String| Err(Error::shape(operation, what));
        if kh * kw * in_group * filters == 0 || images * height * width * channels == 0 {
            return fail(format!("an input {x:?} or a weight {w:?} without elements"));
        }
        if conv.stride.contains(&0) || conv.dilation.contains(&0) || conv.groups == 0 {
            return fail(format!(
                "stride, dilation and groups must not be zero: {conv:?}"
            ));
        }
        if in_group * conv.groups != channels || filters % conv.groups != 0 {
            return fail(format!(
                "a weight kh × kw × in/groups × out of {w:?} in {} groups does not fit an input N × H × W × C of {x:?}",
                conv.groups
            ));
        }
        let [top, bottom, left, right] = conv.padding;
        let span = |k: usize, d: usize| d * (k - 1) + 1;
        let (rows, columns) = (span(kh, conv.dilation[0]), span(kw, conv.dilation[1]));
        if height + top + bottom < rows || width + left + right < columns {
            return fail(format!(
                "a kernel that spans {rows}×{columns} is larger than the padded input {}×{}",
                height + top + bottom,
                width + left + right
            ));
        }
        Ok(Self {
            images,
            height,
            width,
            channels,
            kernel: [kh, kw],
            filters,
            out_height: (height + top + bottom - rows) / conv.stride[0] + 1,
            out_width: (width + left + right - columns) / conv.stride[1] + 1,
            conv,
        })
    }

    /// The output's dims.
    pub fn out(&self) -> (usize, usize, usize, usize) {
        (self.images, self.out_height, self.out_width, self.filters)
    }

    /// Elements of the output.
    pub fn out_len(&self) -> usize {
        self.images * self.out_pixels() * self.filters
    }

    /// Pixels of one image of the output.
    pub fn out_pixels(&self) -> usize {
        self.out_height * self.out_width
    }

    /// Numbers of the weights.
    pub fn weights(&self) -> usize {
        self.taps() * (self.channels / self.conv.groups) * self.filters
    }

    /// Taps of the kernel.
    pub fn taps(&self) -> usize {
        self.kernel[0] * self.kernel[1]
    }

    /// One filter a channel: no sums over channels.
    pub fn is_depthwise(&self) -> bool {
        self.channels > 1 && self.conv.groups == self.channels && self.filters == self.channels
    }

    /// One that reads images of a single pixel and makes such.
    #[cfg(any(test, feature = "cuda"))]
    pub fn is_single(&self) -> bool {
        self.height * self.width == 1 && self.out_height * self.out_width == 1
    }

    /// A 1×1 convolution that reads each pixel where it writes one.
    pub fn is_pointwise(&self) -> bool {
        self.kernel == [1, 1] && self.conv.stride == [1, 1] && self.conv.padding == [0; 4]
    }

    /// A matrix product with so few numbers in its weight that what comes before it is best done as it
    /// reads, where that is possible at all.
    pub fn is_narrow_product(&self) -> bool {
        self.product().is_some_and(|[_, inputs, filters]| {
            inputs.is_multiple_of(4)
                && filters.is_multiple_of(4)
                && filters <= NARROW_FILTERS
                && inputs * filters <= NARROW_WEIGHT
        })
    }

    /// Rows, channels and filters of the matrix product that the convolution is, if it is one.
    pub fn product(&self) -> Option<[usize; 3]> {
        let is_product = self.is_pointwise() && self.conv.groups == 1;
        let rows = self.images * self.out_pixels();
        is_product.then_some([rows, self.channels, self.filters])
    }

    /// Rows that a kernel spans.
    pub fn span(&self) -> [usize; 2] {
        [0, 1].map(|i| self.conv.dilation[i] * (self.kernel[i] - 1) + 1)
    }

    /// Columns of the padded input that the output reads.
    pub fn window_width(&self) -> usize {
        (self.out_width - 1) * self.conv.stride[1] + self.span()[1]
    }

    /// Rows of the padded input that `rows` rows of output read.
    pub fn window_height(&self, rows: usize) -> usize {
        (rows - 1) * self.conv.stride[0] + self.span()[0]
    }

    /// Images of one task: several where they are small, as long as many tasks remain.
    pub fn images_per_tile(&self) -> usize {
        let wanted = TILE_PIXELS.div_ceil(self.out_pixels());
        wanted.clamp(1, self.images.div_ceil(16).max(1))
    }

    /// The cut of the forward pass: several whole images, or some rows of one.
    pub(crate) fn forward_tiles(&self) -> Tiles {
        let images = self.images_per_tile();
        let row = self.window_width() * self.channels * self.conv.stride[0];
        let rows = if images > 1 {
            self.out_height
        } else {
            (TILE_INPUT / row.max(1)).clamp(1, self.out_height)
        };
        // Rows of nearly equal count, so that the last tile is no splinter.
        let parts = self.out_height.div_ceil(rows);
        Tiles {
            images: self.images,
            rows: self.out_height,
            images_per_tile: images,
            rows_per_tile: self.out_height.div_ceil(parts),
        }
    }

    /// The cut of the backward pass: whole images.
    pub(crate) fn backward_tiles(&self) -> Tiles {
        Tiles {
            images: self.images,
            rows: self.out_height,
            images_per_tile: self.images_per_tile(),
            rows_per_tile: self.out_height,
        }
    }
}

/// A cut of a batch into tiles, a function of shapes alone.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tiles {
    images: usize,
    rows: usize,
    images_per_tile: usize,
    rows_per_tile: usize,
}

/// Some rows of output of some images.
#[derive(Debug, Clone)]
pub(crate) struct Tile {
    pub images: Range<usize>,
    pub rows: Range<usize>,
}

impl Tiles {
    /// Tiles in all.
    pub fn count(&self) -> usize {
        self.images.div_ceil(self.images_per_tile) * self.rows.div_ceil(self.rows_per_tile)
    }

    /// Tile number `index`.
    pub fn tile(&self, index: usize) -> Tile {
        let parts = self.rows.div_ceil(self.rows_per_tile);
        let (group, part) = (index / parts, index % parts);
        let (image, row) = (group * self.images_per_tile, part * self.rows_per_tile);
        Tile {
            images: image..(image + self.images_per_tile).min(self.images),
            rows: row..(row + self.rows_per_tile).min(self.rows),
        }
    }

    /// Images and rows of the largest tile.
    pub fn largest(&self) -> (usize, usize) {
        (self.images_per_tile, self.rows_per_tile)
    }
}

// The weight gradient of a dense or grouped convolution: a product over output pixels, which are cut into parts that
// `join_parts` joins. blockIdx.z is group × parts + part.

// Rows: taps × channels of the group; terms: output pixels.
struct Patches {
    static const bool ALONG_K = false;
    const Window& g;
    const number* x;
    const float *factor, *offset;
    int with_relu, channel[4], row[4], column[4];
    __device__ __forceinline__ Patches(const Window& window, const number* from, const float* f, const float* o, int r,
                                       int group, int m0)
        : g(window), x(from), factor(f), offset(o), with_relu(r) {
        const int depth = g.channels / g.groups;
#pragma unroll
        for (int q = 0; q < 4; ++q) {
            const int m = m0 + Slot<false>(q).m, tap = m / depth, a = tap / g.kernel_width, b = tap % g.kernel_width;
            channel[q] = group * depth + m % depth;
            row[q] = a < g.kernel_height ? a * g.dilation_y - g.top : OUTSIDE;
            column[q] = b * g.dilation_x - g.left;
        }
    }
    __device__ __forceinline__ float operator()(int r, int k) const {
        const Pixel at(k, g.images, g.out_height, g.out_width);
        const int i = at.i * g.stride_y + row[r], j = at.j * g.stride_x + column[r], c = channel[r];
        if (i < 0 || i >= g.height || j < 0 || j >= g.width) return 0.0f;
        return read_one(x, (((size_t)at.n * g.height + i) * g.width + j) * g.channels + c, factor, offset, c, with_relu);
    }
};
// Columns: the group's filters.
struct Outputs {
    static const bool ALONG_K = false;
    const number* dy;
    int filters, begin, end;
    __device__ __forceinline__ Outputs(const Window& g, const number* from, int group, int first)
        : dy(from), filters(g.filters), begin(group * (g.filters / g.groups) + first),
          end((group + 1) * (g.filters / g.groups)) {}
    __device__ __forceinline__ float operator()(int r, int k) const {
        const int f = begin + Slot<false>(r).m;
        return f < end ? (float)dy[(size_t)k * filters + f] : 0.0f;
    }
};

template <bool TF32>
__device__ __forceinline__ void convolve_weights(const number* x, const float* factor, const float* offset, int with_relu,
                                                 const number* dy, int pixels_per_part, int count, float* parts,
                                                 const Window& g, float* room) {
    const int group = blockIdx.z / count, part = blockIdx.z % count;
    const int m0 = blockIdx.x * TILE, f0 = blockIdx.y * TILE, depth = g.channels / g.groups, width = g.filters / g.groups;
    const int rows = g.kernel_height * g.kernel_width * depth, pixels = g.images * g.out_height * g.out_width;
    const int first = part * pixels_per_part;
    const int end = pixels - first < pixels_per_part ? pixels : first + pixels_per_part;
    float sums[4][4];
    product<TF32>(Patches(g, x, factor, offset, with_relu, group, m0), Outputs(g, dy, group, f0), first, end, room, sums);
    const size_t size = (size_t)rows * g.filters;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
#pragma unroll
        for (int j = 0; j < 4; ++j) {
            const Cell<TF32> cell(i, j);
            const int m = m0 + cell.row, f = f0 + cell.column;
            if (m < rows && f < width) parts[part * size + (size_t)m * g.filters + group * width + f] = sums[i][j];
        }
    }
}

#define CONVOLUTION_WEIGHTS(SUFFIX, TF32)                                                                                \
    extern "C" __global__ void __launch_bounds__(256, 3)                                                                 \
        convolution_weights##SUFFIX(const number* x, const float* factor, const float* offset, int with_relu,            \
                                    const number* dy, int pixels_per_part, int count, float* parts, Window g) {          \
        __shared__ __align__(16) float room[2 * DEPTH * PITCH];                                                          \
        convolve_weights<TF32>(x, factor, offset, with_relu, dy, pixels_per_part, count, parts, g, room);                \
    }
CONVOLUTION_WEIGHTS(, false)
CONVOLUTION_WEIGHTS(_tf32, true)

// What poolings share, and average pooling; padding is not counted. One output a thread, V channels of it. The output, or its
// gradient, may lie within another tensor: `out_stride` numbers are from a pixel to the next.

struct __align__(8) Pool {
    int images, height, width, channels, out_height, out_width;
    int kernel_height, kernel_width, stride_y, stride_x, top, left, out_stride;
};

// The real positions of a window along one axis: first..last.
struct Taps {
    int first, last;
    __device__ __forceinline__ Taps(int output, int stride, int before, int kernel, int input) {
        const int start = output * stride - before;
        first = start < 0 ? -start : 0;
        last = input - start < kernel ? input - start : kernel;
    }
    // What each has a share of in their mean; some number where there are none.
    __device__ __forceinline__ float share() const { return __fdividef(1.0f, (float)max(last - first, 1)); }
};

// The outputs whose window holds a pixel: first..last.
struct Windows {
    int first, last;
    __device__ __forceinline__ Windows(int pixel, int stride, int before, int kernel, int outputs) {
        const int place = pixel + before;
        first = place < kernel ? 0 : (place - kernel) / stride + 1;
        last = place / stride + 1 < outputs ? place / stride + 1 : outputs;
    }
};

// Taps, or windows, along each axis that a thread reads at once, so that their loads are under way together.
#define AT_ONCE 3

// As many rows and columns of packs as are there, of AT_ONCE each; `down` and `right` numbers lie from one to the next.
template <int V>
__device__ __forceinline__ void read_block(const number* __restrict__ from, int down, int right, int rows, int columns,
                                           float none, Pack<V> (&to)[AT_ONCE][AT_ONCE]) {
#pragma unroll
    for (int k = 0; k < AT_ONCE; ++k)
#pragma unroll
        for (int l = 0; l < AT_ONCE; ++l)
            to[k][l] = k < rows && l < columns ? load<V>(from + (k * down + l * right)) : splat<V>(none);
}

template <int V>
__device__ __forceinline__ void average_pool(const number* __restrict__ x, number* y, const Pool& g) {
    const unsigned int work = (unsigned int)g.images * g.out_height * g.out_width * (g.channels / V);
    for (unsigned int index = thread_index(); index < work; index += thread_count()) {
        const Strip<V, 1> at(index, g.channels, g.out_width, g.out_height);
        const Taps rows(at.i, g.stride_y, g.top, g.kernel_height, g.height);
        const Taps columns(at.j, g.stride_x, g.left, g.kernel_width, g.width);
        Pack<V> sum = splat<V>(0.0f);
        for (int k = rows.first; k < rows.last; k += AT_ONCE) {
            const size_t row = (size_t)at.n * g.height + (at.i * g.stride_y - g.top + k);
            for (int l = columns.first; l < columns.last; l += AT_ONCE) {
                const int column = at.j * g.stride_x - g.left + l;
                Pack<V> values[AT_ONCE][AT_ONCE];
                read_block<V>(x + (row * g.width + column) * g.channels + at.c, g.width * g.channels, g.channels,
                              rows.last - k, columns.last - l, 0.0f, values);
#pragma unroll
                for (int tap = 0; tap < AT_ONCE * AT_ONCE; ++tap) plus<V>(sum, values[tap / AT_ONCE][tap % AT_ONCE]);
            }
        }
        const float share = rows.share() * columns.share();
#pragma unroll
        for (int i = 0; i < V; ++i) sum.v[i] *= share;
        store(y + (((size_t)at.n * g.out_height + at.i) * g.out_width + at.j) * g.out_stride + at.c, sum);
    }
}

template <int V>
__device__ __forceinline__ void average_pool_gradient(const number* __restrict__ dy, number* dx, int add, const Pool& g) {
    const unsigned int work = (unsigned int)g.images * g.height * g.width * (g.channels / V);
    for (unsigned int index = thread_index(); index < work; index += thread_count()) {
        const Strip<V, 1> at(index, g.channels, g.width, g.height);
        const Windows rows(at.i, g.stride_y, g.top, g.kernel_height, g.out_height);
        const Windows columns(at.j, g.stride_x, g.left, g.kernel_width, g.out_width);
        Pack<V> sum = splat<V>(0.0f);
        for (int oi = rows.first; oi < rows.last; oi += AT_ONCE) {
            for (int oj = columns.first; oj < columns.last; oj += AT_ONCE) {
                Pack<V> gradients[AT_ONCE][AT_ONCE];
                read_block<V>(dy + (((size_t)at.n * g.out_height + oi) * g.out_width + oj) * g.out_stride + at.c,
                              g.out_width * g.out_stride, g.out_stride, rows.last - oi, columns.last - oj, 0.0f, gradients);
                float right[AT_ONCE];
#pragma unroll
                for (int l = 0; l < AT_ONCE; ++l)
                    right[l] = Taps(oj + l, g.stride_x, g.left, g.kernel_width, g.width).share();
#pragma unroll
                for (int k = 0; k < AT_ONCE; ++k) {
                    const float down = Taps(oi + k, g.stride_y, g.top, g.kernel_height, g.height).share();
#pragma unroll
                    for (int l = 0; l < AT_ONCE; ++l) fma<V>(sum, gradients[k][l], splat<V>(down * right[l]));
                }
            }
        }
        put<V>(dx + (size_t)index * V, sum, add);
    }
}

// Windows of 3×3. A thread of the means takes POOL_ROWS pixels below each other, so that the sum of three numbers side by side
// serves up to three of them; the gradient at stride 2 is made for 2×2 pixels, which the same 2×2 windows hold.
#define POOL_ROWS 4

// The means at stride 1, or with GRADIENT their gradient: the same sums, as from a pixel on its windows end one after another;
// each output's part of them is what it hands on to a number.
template <int V, bool GRADIENT>
__device__ __forceinline__ void average_rows(const number* __restrict__ from, number* to, int add, const Pool& g) {
    const int height = GRADIENT ? g.height : g.out_height, width = GRADIENT ? g.width : g.out_width;
    const int from_height = GRADIENT ? g.out_height : g.height, from_width = GRADIENT ? g.out_width : g.width;
    const int top = GRADIENT ? 2 - g.top : g.top, left = GRADIENT ? 2 - g.left : g.left;
    const int groups = (height + POOL_ROWS - 1) / POOL_ROWS;
    const int stride = GRADIENT ? g.channels : g.out_stride, from_stride = GRADIENT ? g.out_stride : g.channels;
    const int step = width * stride, from_step = from_width * from_stride;
    const unsigned int work = (unsigned int)g.images * groups * width * (g.channels / V);
    for (unsigned int index = thread_index(); index < work; index += thread_count()) {
        const Strip<V, 1> at(index, g.channels, width, groups);
        const int i = at.i * POOL_ROWS, row = i - top, column = at.j - left;
        number* const out = to + (((size_t)at.n * height + i) * width + at.j) * stride + at.c;
        const number* const in = from + (((size_t)at.n * from_height + row) * from_width + column) * from_stride + at.c;
        Pack<V> sum[POOL_ROWS];
#pragma unroll
        for (int r = 0; r < POOL_ROWS; ++r) sum[r] = add && i + r < height ? load<V>(out + r * step) : splat<V>(0.0f);
        float right[3];
        bool real[3];
#pragma unroll
        for (int l = 0; l < 3; ++l) {
            right[l] = GRADIENT ? Taps(column + l, 1, g.left, 3, g.width).share() : 1.0f;
            real[l] = (unsigned int)(column + l) < (unsigned int)from_width;
        }
#pragma unroll
        for (int k = 0; k < POOL_ROWS + 2; ++k) {
            const bool here = (unsigned int)(row + k) < (unsigned int)from_height;
            Pack<V> across;
#pragma unroll
            for (int l = 0; l < 3; ++l) {
                const Pack<V> value = here & real[l] ? load<V>(in + (k * from_step + l * from_stride)) : splat<V>(0.0f);
#pragma unroll
                for (int v = 0; v < V; ++v)
                    across.v[v] = l == 0 ? value.v[v] * right[l] : fmaf(value.v[v], right[l], across.v[v]);
            }
            const float down = GRADIENT ? Taps(row + k, 1, g.top, 3, g.height).share() : 1.0f;
#pragma unroll
            for (int r = 0; r < POOL_ROWS; ++r)
                if (r <= k && k <= r + 2) fma<V>(sum[r], across, splat<V>(down));
        }
        const float share = GRADIENT ? 1.0f : Taps(at.j, 1, g.left, 3, g.width).share();
#pragma unroll
        for (int r = 0; r < POOL_ROWS; ++r) {
            const float part = GRADIENT ? 1.0f : share * Taps(i + r, 1, g.top, 3, g.height).share();
#pragma unroll
            for (int v = 0; v < V; ++v) sum[r].v[v] *= part;
            if (i + r < height) store(out + r * step, sum[r]);
        }
    }
}

// The gradient of means at stride 2. Window (q, r) begins at the first pixel of pair (q, r); the pair's other windows are those
// before it, which end at its first row and column.
template <int V>
__device__ __forceinline__ void average_pool_gradient_of_pairs(const number* __restrict__ dy, number* dx, int add, const Pool& g) {
    const int high = (g.height + g.top + 1) / 2, wide = (g.width + g.left + 1) / 2;
    const int step = g.width * g.channels, from_step = g.out_width * g.out_stride;
    const unsigned int work = (unsigned int)g.images * high * wide * (g.channels / V);
    for (unsigned int index = thread_index(); index < work; index += thread_count()) {
        const Strip<V, 1> at(index, g.channels, wide, high);
        const int i = 2 * at.i - g.top, j = 2 * at.j - g.left;
        number* const out = dx + (((size_t)at.n * g.height + i) * g.width + j) * g.channels + at.c;
        const size_t from = (((size_t)at.n * g.out_height + at.i - 1) * g.out_width + at.j - 1) * g.out_stride + at.c;
        Pack<V> gradients[2][2], sum[2][2];
        bool real[2][2];
#pragma unroll
        for (int k = 0; k < 2; ++k)
#pragma unroll
            for (int l = 0; l < 2; ++l) {
                const int oi = at.i - 1 + k, oj = at.j - 1 + l;
                const bool inside = ((unsigned int)oi < (unsigned int)g.out_height) &
                                    ((unsigned int)oj < (unsigned int)g.out_width);
                gradients[k][l] = inside ? load<V>(dy + (from + (k * from_step + l * g.out_stride))) : splat<V>(0.0f);
                real[k][l] = ((unsigned int)(i + k) < (unsigned int)g.height) & ((unsigned int)(j + l) < (unsigned int)g.width);
                sum[k][l] = add && real[k][l] ? load<V>(out + (k * step + l * g.channels)) : splat<V>(0.0f);
            }
#pragma unroll
        for (int k = 0; k < 2; ++k)
#pragma unroll
            for (int l = 0; l < 2; ++l) {
                const float share = Taps(at.i - 1 + k, 2, g.top, 3, g.height).share() *
                                    Taps(at.j - 1 + l, 2, g.left, 3, g.width).share();
                // The second row and column of the pair lie in the later windows only.
#pragma unroll
                for (int m = 0; m <= k; ++m)
#pragma unroll
                    for (int n = 0; n <= l; ++n) fma<V>(sum[m][n], gradients[k][l], splat<V>(share));
            }
#pragma unroll
        for (int k = 0; k < 2; ++k)
#pragma unroll
            for (int l = 0; l < 2; ++l)
                if (real[k][l]) store(out + (k * step + l * g.channels), sum[k][l]);
    }
}

#define POOL(V)                                                                                                              \
    extern "C" __global__ void __launch_bounds__(256, 3) average_pool_##V(const number* x, number* y, Pool g) {              \
        average_pool<V>(x, y, g);                                                                                            \
    }                                                                                                                        \
    extern "C" __global__ void __launch_bounds__(256, 3) average_pool_gradient_##V(const number* dy, number* dx, int add,    \
                                                                                   Pool g) {                                 \
        average_pool_gradient<V>(dy, dx, add, g);                                                                            \
    }
POOL(4)
POOL(1)

// With the registers of more blocks they spill on later compute capabilities.
#if __CUDA_ARCH__ >= 1200
#define ROWS_BLOCKS 1
#elif __CUDA_ARCH__ >= 1000
#define ROWS_BLOCKS 2
#else
#define ROWS_BLOCKS 3
#endif
extern "C" __global__ void __launch_bounds__(256, ROWS_BLOCKS) average_pool_rows(const number* x, number* y, Pool g) {
    average_rows<4, false>(x, y, 0, g);
}
extern "C" __global__ void __launch_bounds__(256, ROWS_BLOCKS)
    average_pool_gradient_rows(const number* dy, number* dx, int add, Pool g) {
    average_rows<4, true>(dy, dx, add, g);
}
extern "C" __global__ void __launch_bounds__(256, 4) average_pool_gradient_pairs(const number* dy, number* dx, int add,
                                                                                 Pool g) {
    average_pool_gradient_of_pairs<4>(dy, dx, add, g);
}

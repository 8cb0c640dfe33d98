// Depthwise convolution: y[n, i, j, c] = Σ x[n, i·s + a·d − top, j·s + b·d − left, c] · w[a, b, c], and its input gradient.
// Four channels a thread where 4 divides them; consecutive threads take consecutive channels.

// The sizes of a convolution.
struct __align__(8) Window {
    int images, height, width, channels, out_height, out_width, filters, groups;
    int kernel_height, kernel_width, stride_y, stride_x, dilation_y, dilation_x, top, left;
};

// The channels and the pixels of a thread: P outputs next to each other in a row.
template <int V, int P> struct Strip {
    int c, j, i, n;
    __device__ __forceinline__ Strip(unsigned int index, int channels, int out_width, int out_height) {
        const int packs = channels / V, strips = (out_width + P - 1) / P;
        c = (int)(index % packs) * V;
        index /= packs;
        j = (int)(index % strips) * P;
        index /= strips;
        i = (int)(index % out_height);
        n = (int)(index / out_height);
    }
};

// P outputs a thread. Every number of the input is read once for all of them.
template <int K, int S, int D, int P>
__device__ __forceinline__ void depthwise_strip(const number* __restrict__ x, const float* factor, const float* offset,
                                                int with_relu, const float* __restrict__ w, number* y, const Window& g) {
    const int strips = (g.out_width + P - 1) / P;
    const unsigned int work = (unsigned int)g.images * g.out_height * strips * (g.channels / 4);
    for (unsigned int index = thread_index(); index < work; index += thread_count()) {
        const Strip<4, P> at(index, g.channels, g.out_width, g.out_height);
        const Prologue<4> prologue(factor, offset, at.c, with_relu);
        Pack<4> sums[P];
#pragma unroll
        for (int p = 0; p < P; ++p) sums[p] = splat<4>(0.0f);
        const int first = at.j * S - g.left;
#pragma unroll 1
        for (int a = 0; a < K; ++a) {
            const int row = at.i * S + a * D - g.top;
            if (row < 0 || row >= g.height) continue;
            Pack<4> weights[K];
#pragma unroll
            for (int b = 0; b < K; ++b) weights[b] = load<4>(w + (size_t)(a * K + b) * g.channels + at.c);
            const number* const line = x + ((size_t)at.n * g.height + row) * g.width * g.channels + at.c;
            // All loads of the row come before their use, so that they are under way together.
            Pack<4> values[(P - 1) * S + (K - 1) * D + 1];
#pragma unroll
            for (int m = 0; m <= (P - 1) * S + (K - 1) * D; ++m) {
                if (S % 2 == 0 && D % 2 == 0 && m % 2 != 0) continue;
                const int column = first + m;
                const bool inside = column >= 0 && column < g.width;
                values[m] = inside ? load<4>(line + (size_t)column * g.channels) : splat<4>(0.0f);
                if (inside) values[m] = prologue.of(values[m]);
            }
#pragma unroll
            for (int p = 0; p < P; ++p) {
#pragma unroll
                for (int b = 0; b < K; ++b) fma<4>(sums[p], values[p * S + b * D], weights[b]);
            }
        }
        number* const to = y + (((size_t)at.n * g.out_height + at.i) * g.out_width + at.j) * g.channels + at.c;
#pragma unroll
        for (int p = 0; p < P; ++p)
            if (at.j + p < g.out_width) store(to + (size_t)p * g.channels, sums[p]);
    }
}

// Any kernel, stride and dilation: one output a thread.
template <int V>
__device__ __forceinline__ void depthwise(const number* __restrict__ x, const float* factor, const float* offset,
                                          int with_relu, const float* __restrict__ w, number* y, const Window& g) {
    const unsigned int work = (unsigned int)g.images * g.out_height * g.out_width * (g.channels / V);
    for (unsigned int index = thread_index(); index < work; index += thread_count()) {
        const Strip<V, 1> at(index, g.channels, g.out_width, g.out_height);
        const Prologue<V> prologue(factor, offset, at.c, with_relu);
        Pack<V> sum = splat<V>(0.0f);
        for (int a = 0; a < g.kernel_height; ++a) {
            const int row = at.i * g.stride_y + a * g.dilation_y - g.top;
            if (row < 0 || row >= g.height) continue;
            for (int b = 0; b < g.kernel_width; ++b) {
                const int column = at.j * g.stride_x + b * g.dilation_x - g.left;
                if (column < 0 || column >= g.width) continue;
                const size_t from = (((size_t)at.n * g.height + row) * g.width + column) * g.channels + at.c;
                const Pack<V> weight = load<V>(w + (size_t)(a * g.kernel_width + b) * g.channels + at.c);
                fma<V>(sum, prologue.of(load<V>(x + from)), weight);
            }
        }
        store(y + (size_t)index * V, sum);
    }
}

template <int V>
__device__ __forceinline__ void depthwise_input(const number* __restrict__ dy, const float* __restrict__ w, const number* x,
                                                const float* factor, const float* offset, number* dx, int add,
                                                const Window& g) {
    const unsigned int work = (unsigned int)g.images * g.height * g.width * (g.channels / V);
    for (unsigned int index = thread_index(); index < work; index += thread_count()) {
        const Strip<V, 1> at(index, g.channels, g.width, g.height);
        Pack<V> sum = splat<V>(0.0f);
        for (int a = 0; a < g.kernel_height; ++a) {
            const int down = at.i + g.top - a * g.dilation_y;
            if (down < 0 || down % g.stride_y != 0 || down / g.stride_y >= g.out_height) continue;
            for (int b = 0; b < g.kernel_width; ++b) {
                const int right = at.j + g.left - b * g.dilation_x;
                if (right < 0 || right % g.stride_x != 0 || right / g.stride_x >= g.out_width) continue;
                const size_t row = (size_t)at.n * g.out_height + down / g.stride_y;
                const size_t from = (row * g.out_width + right / g.stride_x) * g.channels + at.c;
                fma<V>(sum, load<V>(dy + from), load<V>(w + (size_t)(a * g.kernel_width + b) * g.channels + at.c));
            }
        }
        if (x) sum = Prologue<V>(factor, offset, at.c, 0).gate(load<V>(x + (size_t)index * V), sum);
        put<V>(dx + (size_t)index * V, sum, add);
    }
}

// At stride 2 every second tap reaches a pixel: which, its place says.
template <int K>
__device__ __forceinline__ void depthwise_input_stride2(const number* __restrict__ dy, const float* __restrict__ w,
                                                        const number* x, const float* factor, const float* offset, number* dx,
                                                        int add, const Window& g) {
    const unsigned int work = (unsigned int)g.images * g.height * g.width * (g.channels / 4);
    for (unsigned int index = thread_index(); index < work; index += thread_count()) {
        const Strip<4, 1> at(index, g.channels, g.width, g.height);
        const int down = at.i + g.top, right = at.j + g.left;
        Pack<4> sum = splat<4>(0.0f);
#pragma unroll
        for (int p = 0; p < (K + 1) / 2; ++p) {
            const int a = down % 2 + 2 * p, i = (down - a) / 2;
            if (a >= K || a > down || i >= g.out_height) continue;
            const number* const line = dy + ((size_t)at.n * g.out_height + i) * g.out_width * g.channels + at.c;
#pragma unroll
            for (int q = 0; q < (K + 1) / 2; ++q) {
                const int b = right % 2 + 2 * q, j = (right - b) / 2;
                if (b >= K || b > right || j >= g.out_width) continue;
                const Pack<4> weight = load<4>(w + (size_t)(a * K + b) * g.channels + at.c);
                fma<4>(sum, load<4>(line + (size_t)j * g.channels), weight);
            }
        }
        if (x) sum = Prologue<4>(factor, offset, at.c, 0).gate(load<4>(x + (size_t)index * 4), sum);
        put<4>(dx + (size_t)index * 4, sum, add);
    }
}

#define DEPTHWISE(NAME, ...)                                                                                             \
    extern "C" __global__ void __launch_bounds__(256)                                                                    \
        NAME(const number* __restrict__ x, const float* factor, const float* offset, int with_relu,                      \
             const float* __restrict__ w, number* y, Window g) {                                                         \
        __VA_ARGS__(x, factor, offset, with_relu, w, y, g);                                                              \
    }
#define DEPTHWISE_INPUT(NAME, ...)                                                                                       \
    extern "C" __global__ void __launch_bounds__(256)                                                                    \
        NAME(const number* __restrict__ dy, const float* __restrict__ w, const number* x, const float* factor,           \
             const float* offset, number* dx, int add, Window g) {                                                       \
        __VA_ARGS__(dy, w, x, factor, offset, dx, add, g);                                                               \
    }

DEPTHWISE(depthwise_k3, depthwise_strip<3, 1, 1, 4>)
DEPTHWISE(depthwise_k5, depthwise_strip<5, 1, 1, 4>)
DEPTHWISE(depthwise_k7, depthwise_strip<7, 1, 1, 4>)
DEPTHWISE(depthwise_k3_stride2, depthwise_strip<3, 2, 1, 2>)
DEPTHWISE(depthwise_k5_stride2, depthwise_strip<5, 2, 1, 2>)
DEPTHWISE(depthwise_k7_stride2, depthwise_strip<7, 2, 1, 2>)
DEPTHWISE(depthwise_k3_dilated, depthwise_strip<3, 1, 2, 4>)
DEPTHWISE(depthwise_k5_dilated, depthwise_strip<5, 1, 2, 4>)
DEPTHWISE(depthwise_any_4, depthwise<4>)
DEPTHWISE(depthwise_any_1, depthwise<1>)

DEPTHWISE_INPUT(depthwise_input_k3_stride2, depthwise_input_stride2<3>)
DEPTHWISE_INPUT(depthwise_input_k5_stride2, depthwise_input_stride2<5>)
DEPTHWISE_INPUT(depthwise_input_k7_stride2, depthwise_input_stride2<7>)
DEPTHWISE_INPUT(depthwise_input_any_4, depthwise_input<4>)
DEPTHWISE_INPUT(depthwise_input_any_1, depthwise_input<1>)

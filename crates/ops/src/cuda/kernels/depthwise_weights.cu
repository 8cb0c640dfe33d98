// The weight gradient of a depthwise convolution: dw[a, b, c] = Σ x[n, i·s + a·d − top, j·s + b·d − left, c] · dy[n, i, j, c],
// summed in two stages as in columns.cu. blockIdx.x picks the channels, blockIdx.y the taps (a row of the kernel, or a
// single tap), blockIdx.z the part of the strips of output pixels.

// Joins the parts, [blocks][taps][channels], of the T taps from `first` on.
template <int V, int T>
__device__ __forceinline__ void join_taps(Pack<V> (&sums)[T], int first, bool inside, int channel, int channels, int taps,
                                          float* parts, unsigned int* counters, float* dw, int add, float* room,
                                          unsigned int* flag) {
    sum_of_rows(sums, room);
    const size_t begin = (size_t)first * channels + channel;
    if (inside && threadIdx.y == 0) {
        float* const part = parts + (size_t)blockIdx.z * taps * channels + begin;
#pragma unroll
        for (int t = 0; t < T; ++t) store(part + (size_t)t * channels, sums[t]);
    }
    if (!last_block(counters + blockIdx.y * gridDim.x + blockIdx.x, gridDim.z, flag)) return;
    joined<V>(sums, parts + begin, gridDim.z, taps * channels, channels, inside, room);
    if (!inside || threadIdx.y != 0) return;
#pragma unroll
    for (int t = 0; t < T; ++t) put<V>(dw + begin + (size_t)t * channels, sums[t], add);
}

// A row of a K × K kernel, P outputs at a time.
template <int K, int S, int P>
__device__ __forceinline__ void depthwise_weights_strip(const number* __restrict__ x, const float* factor,
                                                        const float* offset, int with_relu, const number* __restrict__ dy,
                                                        int strips_per_block, float* parts, unsigned int* counters,
                                                        float* dw, int add, const Window& g, float* room,
                                                        unsigned int* flag) {
    const int c = (blockIdx.x * blockDim.x + threadIdx.x) * 4, a = blockIdx.y;
    const bool inside = c < g.channels;
    const int strips = (g.out_width + P - 1) / P;
    const unsigned int all = (unsigned int)g.images * g.out_height * strips;
    const unsigned int start = blockIdx.z * strips_per_block;
    const unsigned int end = start + strips_per_block < all ? start + strips_per_block : all;
    Pack<4> sums[K];
#pragma unroll
    for (int b = 0; b < K; ++b) sums[b] = splat<4>(0.0f);
    if (inside) {
        const Prologue<4> prologue(factor, offset, c, with_relu);
        for (unsigned int index = start + threadIdx.y; index < end; index += blockDim.y) {
            const int j = (int)(index % strips) * P, i = (int)(index / strips % g.out_height);
            const int n = (int)(index / strips / g.out_height);
            const int row = i * S + a - g.top;
            if (row < 0 || row >= g.height) continue;
            const number* const from = dy + (((size_t)n * g.out_height + i) * g.out_width + j) * g.channels + c;
            const number* const line = x + ((size_t)n * g.height + row) * g.width * g.channels + c;
            const int first = j * S - g.left;
            Pack<4> gradient[P];
#pragma unroll
            for (int p = 0; p < P; ++p)
                gradient[p] = j + p < g.out_width ? load<4>(from + (size_t)p * g.channels) : splat<4>(0.0f);
            Pack<4> value[(P - 1) * S + K - 1 + 1];
#pragma unroll
            for (int m = 0; m <= (P - 1) * S + K - 1; ++m) {
                const bool real = first + m >= 0 && first + m < g.width;
                value[m] = real ? load<4>(line + (size_t)(first + m) * g.channels) : splat<4>(0.0f);
                if (real) value[m] = prologue.of(value[m]);
            }
#pragma unroll
            for (int p = 0; p < P; ++p) {
#pragma unroll
                for (int b = 0; b < K; ++b) fma<4>(sums[b], value[p * S + b], gradient[p]);
            }
        }
    }
    join_taps<4, K>(sums, a * K, inside, c, g.channels, K * K, parts, counters, dw, add, room, flag);
}

// One tap of any kernel; a strip is one pixel.
template <int V>
__device__ __forceinline__ void depthwise_weights(const number* __restrict__ x, const float* factor, const float* offset,
                                                  int with_relu, const number* __restrict__ dy, int strips_per_block,
                                                  float* parts, unsigned int* counters, float* dw, int add,
                                                  const Window& g, float* room, unsigned int* flag) {
    const int c = (blockIdx.x * blockDim.x + threadIdx.x) * V;
    const int a = blockIdx.y / g.kernel_width, b = blockIdx.y % g.kernel_width;
    const bool inside = c < g.channels;
    const unsigned int all = (unsigned int)g.images * g.out_height * g.out_width;
    const unsigned int start = blockIdx.z * strips_per_block;
    const unsigned int end = start + strips_per_block < all ? start + strips_per_block : all;
    Pack<V> sums[1] = {splat<V>(0.0f)};
    if (inside) {
        const Prologue<V> prologue(factor, offset, c, with_relu);
        for (unsigned int index = start + threadIdx.y; index < end; index += blockDim.y) {
            const int j = (int)(index % g.out_width), i = (int)(index / g.out_width % g.out_height);
            const int n = (int)(index / g.out_width / g.out_height);
            const int row = i * g.stride_y + a * g.dilation_y - g.top, column = j * g.stride_x + b * g.dilation_x - g.left;
            if (row < 0 || row >= g.height || column < 0 || column >= g.width) continue;
            const size_t from = (((size_t)n * g.height + row) * g.width + column) * g.channels + c;
            fma<V>(sums[0], prologue.of(load<V>(x + from)), load<V>(dy + (size_t)index * g.channels + c));
        }
    }
    const int taps = g.kernel_height * g.kernel_width;
    join_taps<V, 1>(sums, blockIdx.y, inside, c, g.channels, taps, parts, counters, dw, add, room, flag);
}

#define DEPTHWISE_WEIGHTS(NAME, V, T, ...)                                                                               \
    extern "C" __global__ void __launch_bounds__(256, 2)                                                                 \
        NAME(const number* __restrict__ x, const float* factor, const float* offset, int with_relu,                      \
             const number* __restrict__ dy, int strips_per_block, float* parts, unsigned int* counters, float* dw,       \
             int add, Window g) {                                                                                        \
        __shared__ float room[T * V * SUM_ROOM];                                                                         \
        __shared__ unsigned int flag;                                                                                    \
        __VA_ARGS__(x, factor, offset, with_relu, dy, strips_per_block, parts, counters, dw, add, g, room, &flag);       \
    }

DEPTHWISE_WEIGHTS(depthwise_weights_k3_stride2, 4, 3, depthwise_weights_strip<3, 2, 2>)
DEPTHWISE_WEIGHTS(depthwise_weights_k5_stride2, 4, 5, depthwise_weights_strip<5, 2, 2>)
DEPTHWISE_WEIGHTS(depthwise_weights_k7_stride2, 4, 7, depthwise_weights_strip<7, 2, 2>)
DEPTHWISE_WEIGHTS(depthwise_weights_any_4, 4, 1, depthwise_weights<4>)
DEPTHWISE_WEIGHTS(depthwise_weights_any_1, 1, 1, depthwise_weights<1>)

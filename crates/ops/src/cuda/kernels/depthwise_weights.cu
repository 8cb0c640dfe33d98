// The weight gradient of any depthwise convolution:
// dw[a, b, c] = Σ x[n, i·s + a·d − top, j·s + b·d − left, c] · dy[n, i, j, c], summed in two stages as in
// columns.cu. blockIdx.x picks the channels, blockIdx.y the tap, blockIdx.z the part of the output pixels.

template <int V>
__device__ __forceinline__ void depthwise_weights(const number* __restrict__ x, const float* factor, const float* offset,
                                                  int with_relu, const number* __restrict__ dy, int pixels_per_block,
                                                  float* parts, unsigned int* counters, float* dw, int add,
                                                  const Window& g, float* room, unsigned int* flag) {
    const int c = (blockIdx.x * blockDim.x + threadIdx.x) * V;
    const int a = blockIdx.y / g.kernel_width, b = blockIdx.y % g.kernel_width;
    const bool inside = c < g.channels;
    const unsigned int all = (unsigned int)g.images * g.out_height * g.out_width;
    const unsigned int start = blockIdx.z * pixels_per_block;
    const unsigned int end = start + pixels_per_block < all ? start + pixels_per_block : all;
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
    over_rows_of_warp(sums, room);
    __syncthreads();
    // The parts are [blocks][taps][channels].
    const size_t tap = (size_t)blockIdx.y * g.channels;
    const int thread = threadIdx.y * blockDim.x + threadIdx.x, width = blockDim.x * V, channel = blockIdx.x * width + thread;
    const bool has_channel = thread < width && channel < g.channels;
    const int part = g.kernel_height * g.kernel_width * g.channels;
    if (has_channel) parts[(size_t)blockIdx.z * part + tap + channel] = over_warps<float>(room, width, thread);
    if (!last_block(counters + blockIdx.y * gridDim.x + blockIdx.x, gridDim.z, flag)) return;
    join<V>(sums, parts + tap + c, gridDim.z, part, 0, inside);
    over_rows_of_warp(sums, room);
    __syncthreads();
    if (!has_channel) return;
    const float total = over_warps<float>(room, width, thread);
    dw[tap + channel] = add ? dw[tap + channel] + total : total;
}

#define DEPTHWISE_WEIGHTS(NAME, V)                                                                                       \
    extern "C" __global__ void __launch_bounds__(256, 2)                                                                 \
        NAME(const number* __restrict__ x, const float* factor, const float* offset, int with_relu,                      \
             const number* __restrict__ dy, int pixels_per_block, float* parts, unsigned int* counters, float* dw,       \
             int add, Window g) {                                                                                        \
        __shared__ float room[V * SUM_ROOM];                                                                             \
        __shared__ unsigned int flag;                                                                                    \
        depthwise_weights<V>(x, factor, offset, with_relu, dy, pixels_per_block, parts, counters, dw, add, g, room,      \
                             &flag);                                                                                     \
    }

DEPTHWISE_WEIGHTS(depthwise_weights_any_4, 4)
DEPTHWISE_WEIGHTS(depthwise_weights_any_1, 1)

// Both gradients of a depthwise convolution at stride 2, by one read of what they need; see depthwise_gradient.cu. Which taps
// reach a pixel of the input, its place says: with top = 2t + O those of pixel i = 2m + e, where e is 0 or 1, are
// a = 2h + e − O, from row m + t + O − h of dy, and with columns it is the same. So the 2 × 2 pixels of a square share a
// window of dy. A block takes tiles of SQUARES × SQUARES squares and TILE_CHANNELS channels one after the other: it brings a
// tile of x, past the prologue, and the windows of dy into shared memory, with zeros for what is not there.

#define SQUARES 8
// Numbers of a row of pixels; the rows of squares below each other lie in different banks.
#define SQUARE_PITCH (2 * SQUARES * TILE_CHANNELS + TILE_CHANNELS / 2)
#define QUADS (TILE_CHANNELS / 4)
// What lies in shared memory: a tile and its windows, and later the sums of each warp.
#define SQUARE_ROOM 6272

// The block has QUADS × 64 threads. A thread brings and stores four channels of a pixel; what it computes is one channel of P
// squares next to each other.
template <int K, int O>
__device__ __forceinline__ void depthwise_gradient_stride2(const number* __restrict__ dy, const float* __restrict__ w,
                                                           const number* __restrict__ x, const float* mean,
                                                           const float* offset, int with_relu, number* dx, int add,
                                                           int tiles_per_block, float* parts, unsigned int* counters,
                                                           const Sums& to, const Window& g, float* room, float* kept,
                                                           unsigned int* flag) {
    const int HALF = (K + 1) / 2, EDGE = SQUARES + HALF - 1, WINDOW_PITCH = (EDGE | 1) * TILE_CHANNELS, P = 4;
    const int TALL = COLUMN_THREADS / QUADS, ROWS = TALL / (2 * SQUARES);
    const int LOADS = 2 * SQUARES / ROWS, WINDOW_LOADS = (EDGE * EDGE + TALL - 1) / TALL;
    const int thread = threadIdx.y * QUADS + threadIdx.x, quad = threadIdx.x * 4;
    const int c = blockIdx.x * TILE_CHANNELS + quad;
    const bool has_channels = c < g.channels;
    // The weights, and factor, offset and mean of the norm; in registers they would take the room of sums.
    for (int t = threadIdx.y; t < K * K + 3; t += TALL) {
        const float* const other = t == K * K ? to.factor : t > K * K + 1 ? mean : to.factor ? offset : nullptr;
        const float* const of = t < K * K ? w + t * g.channels : other;
        const Pack<4> none = splat<4>(t == K * K ? 1.0f : 0.0f);
        store(kept + t * TILE_CHANNELS + quad, of && has_channels ? load<4>(of + c) : none);
    }
    float taps[K * K];
#pragma unroll
    for (int t = 0; t < K * K; ++t) taps[t] = 0.0f;
    Pack<4> totals[2] = {splat<4>(0.0f), splat<4>(0.0f)};
    const bool summing = to.slope != nullptr;
    // What is less becomes 0: nothing is less than a NaN.
    const float least = with_relu ? 0.0f : of_bits(0x7fffffffu);
    const int lane = thread % TILE_CHANNELS, down = thread / TILE_CHANNELS % SQUARES;
    const int over = thread / TILE_CHANNELS / SQUARES * P;
    float* const windows = room + 2 * SQUARES * SQUARE_PITCH;
    const int first_row = threadIdx.y / (2 * SQUARES), own_column = threadIdx.y % (2 * SQUARES);
    float* const pixels = room + first_row * SQUARE_PITCH + own_column * TILE_CHANNELS + quad;
    const float* const from = windows + down * WINDOW_PITCH + over * TILE_CHANNELS + lane;
    float* const own = room + 2 * down * SQUARE_PITCH + 2 * over * TILE_CHANNELS + lane;
    const int wide_tiles = (g.width + 2 * SQUARES - 1) / (2 * SQUARES);
    const int tall_tiles = (g.height + 2 * SQUARES - 1) / (2 * SQUARES);
    const int all = g.images * tall_tiles * wide_tiles, end = min((int)(blockIdx.y + 1) * tiles_per_block, all);
    for (int tile = blockIdx.y * tiles_per_block; tile < end; ++tile) {
        const int n = tile / wide_tiles / tall_tiles;
        const int m = tile / wide_tiles % tall_tiles * SQUARES, k = tile % wide_tiles * SQUARES;
        // Without branches, so that all loads can be under way together: what is not there is read from the first pixel.
        const int i = 2 * m + first_row, j = 2 * k + own_column;
        const size_t place = (((size_t)n * g.height + i) * g.width + j) * g.channels + c;
        const int step = ROWS * g.width * g.channels;
        const auto inside = [&](int l) { return has_channels & (j < g.width) & (i + l * ROWS < g.height); };
        Pack<4> values[LOADS], gradients[WINDOW_LOADS];
#pragma unroll
        for (int l = 0; l < LOADS; ++l) values[l] = load<4>(x + (inside(l) ? place + l * step : 0));
#pragma unroll
        for (int l = 0; l < WINDOW_LOADS; ++l) {
            const int pixel = threadIdx.y + l * TALL;
            const int row = m + g.top / 2 + O - (HALF - 1) + pixel / EDGE;
            const int column = k + g.left / 2 + O - (HALF - 1) + pixel % EDGE;
            const bool there = has_channels & ((unsigned int)row < (unsigned int)g.out_height) &
                               ((unsigned int)column < (unsigned int)g.out_width);
            const size_t at = (((size_t)n * g.out_height + row) * g.out_width + column) * g.channels + c;
            gradients[l] = load<4>(dy + (there ? at : 0));
#pragma unroll
            for (int v = 0; v < 4; ++v) gradients[l].v[v] = there ? gradients[l].v[v] : 0.0f;
        }
        // What was kept is there, and the tile before is stored.
        __syncthreads();
        const Pack<4> factor = load<4>(kept + K * K * TILE_CHANNELS + quad);
        const Pack<4> shift = load<4>(kept + (K * K + 1) * TILE_CHANNELS + quad);
#pragma unroll
        for (int l = 0; l < LOADS; ++l) {
#pragma unroll
            for (int v = 0; v < 4; ++v) {
                const float read = fmaf(values[l].v[v], factor.v[v], shift.v[v]);
                values[l].v[v] = inside(l) & !(read < least) ? read : 0.0f;
            }
            store(pixels + l * ROWS * SQUARE_PITCH, values[l]);
        }
#pragma unroll
        for (int l = 0; l < WINDOW_LOADS; ++l) {
            const int pixel = threadIdx.y + l * TALL;
            float* const spot = windows + pixel / EDGE * WINDOW_PITCH + pixel % EDGE * TILE_CHANNELS + quad;
            if (pixel < EDGE * EDGE) store(spot, gradients[l]);
        }
        __syncthreads();
        float value[2][2 * P], sums[2][2 * P];
#pragma unroll
        for (int e = 0; e < 2; ++e) {
#pragma unroll
            for (int p = 0; p < 2 * P; ++p) {
                value[e][p] = own[e * SQUARE_PITCH + p * TILE_CHANNELS];
                sums[e][p] = 0.0f;
            }
        }
#pragma unroll
        for (int h = 0; h < HALF; ++h) {
            float window[P + HALF - 1];
#pragma unroll
            for (int p = 0; p < P + HALF - 1; ++p) window[p] = from[(HALF - 1 - h) * WINDOW_PITCH + p * TILE_CHANNELS];
#pragma unroll
            for (int t = 0; t < 4 * HALF; ++t) {
                const int e = t / (2 * HALF), f = t % 2, q = t % (2 * HALF) / 2, a = 2 * h + e - O, b = 2 * q + f - O;
                if (a < 0 || a >= K || b < 0 || b >= K) continue;
                const float weight = kept[(a * K + b) * TILE_CHANNELS + lane];
#pragma unroll
                for (int p = 0; p < P; ++p) {
                    sums[e][2 * p + f] = fmaf(window[p + HALF - 1 - q], weight, sums[e][2 * p + f]);
                    taps[a * K + b] = fmaf(window[p + HALF - 1 - q], value[e][2 * p + f], taps[a * K + b]);
                }
            }
        }
        if (!dx) continue;
        // The gradients take the place of what the thread read of x. A ReLU's output is positive where its input is.
#pragma unroll
        for (int e = 0; e < 2; ++e) {
#pragma unroll
            for (int p = 0; p < 2 * P; ++p)
                own[e * SQUARE_PITCH + p * TILE_CHANNELS] = value[e][p] <= least ? 0.0f : sums[e][p];
        }
        // Sums are taken of what is stored, not added to; so one of the two is read.
        const number* const other = summing ? x : dx;
        const bool reads = summing | (add != 0);
#pragma unroll
        for (int l = 0; l < LOADS; ++l) values[l] = load<4>(other + (reads & inside(l) ? place + l * step : 0));
        const Pack<4> middle = load<4>(kept + (K * K + 2) * TILE_CHANNELS + quad);
        __syncthreads();
#pragma unroll
        for (int l = 0; l < LOADS; ++l) {
            if (!inside(l)) continue;
            Pack<4> sum = load<4>(pixels + l * ROWS * SQUARE_PITCH);
#pragma unroll
            for (int v = 0; v < 4; ++v) {
                totals[0].v[v] += sum.v[v];
                totals[1].v[v] = fmaf(sum.v[v], values[l].v[v] - middle.v[v], totals[1].v[v]);
                sum.v[v] += add ? values[l].v[v] : 0.0f;
            }
            store(dx + place + l * step, sum);
        }
    }
    __syncthreads();
    // The sums of the taps over the block, as parts, [blocks][taps][channels], which join_parts joins.
#pragma unroll
    for (int t = 0; t < K * K; ++t) {
        taps[t] += __shfl_xor_sync(ALL_LANES, taps[t], TILE_CHANNELS);
        if (thread % WARP < TILE_CHANNELS) room[(thread / WARP * K * K + t) * TILE_CHANNELS + lane] = taps[t];
    }
    __syncthreads();
    float* const part = parts + (size_t)blockIdx.y * K * K * g.channels;
    for (int place = thread; place < K * K * TILE_CHANNELS; place += COLUMN_THREADS) {
        const int channel = blockIdx.x * TILE_CHANNELS + place % TILE_CHANNELS;
        float sum = 0.0f;
#pragma unroll
        for (int warp = 0; warp < COLUMN_THREADS / WARP; ++warp) sum += room[warp * K * K * TILE_CHANNELS + place];
        if (channel < g.channels) part[(unsigned int)place / TILE_CHANNELS * g.channels + channel] = sum;
    }
    if (!to.slope) return;
    __syncthreads();
    const long long rows = (long long)g.images * g.height * g.width;
    float* const norm_parts = parts + (size_t)gridDim.y * K * K * g.channels;
    end_sums<4>(totals, c, has_channels, rows, g.channels, norm_parts, counters, 1, to, room, flag);
}

#define DEPTHWISE_GRADIENT_STRIDE2(NAME, K, O, BLOCKS)                                                                   \
    extern "C" __global__ void __launch_bounds__(COLUMN_THREADS, BLOCKS)                                                 \
        NAME(const number* __restrict__ dy, const float* __restrict__ w, const number* __restrict__ x, const float* mean, \
             const float* inverse, const float* factor, const float* offset, int with_relu, number* dx, int add,         \
             int tiles_per_block, float* parts, unsigned int* counters, float* slope, float* constant, float* dscale,    \
             float* dshift, Window g) {                                                                                  \
        __shared__ __align__(16) float room[SQUARE_ROOM];                                                                \
        __shared__ __align__(16) float kept[(K * K + 3) * TILE_CHANNELS];                                                \
        __shared__ unsigned int flag;                                                                                    \
        const Sums to = {inverse, factor, slope, constant, dscale, dshift};                                              \
        depthwise_gradient_stride2<K, O>(dy, w, x, mean, offset, with_relu, dx, add, tiles_per_block, parts,             \
                                            counters, to, g, room, kept, &flag);                                         \
    }
// The padding's last bit follows the size.
// With the registers of a second block the larger ones spill on later compute capabilities.
#if __CUDA_ARCH__ >= 1000
#define STRIDE2_BLOCKS 1
#else
#define STRIDE2_BLOCKS 2
#endif
#if __CUDA_ARCH__ >= 1000 || (defined(BF16) && __CUDA_ARCH__ == 800)
#define STRIDE2_BLOCKS_OF_7 1
#else
#define STRIDE2_BLOCKS_OF_7 2
#endif
DEPTHWISE_GRADIENT_STRIDE2(depthwise_gradient_k3_stride2_even, 3, 0, 2)
DEPTHWISE_GRADIENT_STRIDE2(depthwise_gradient_k3_stride2_odd, 3, 1, 2)
DEPTHWISE_GRADIENT_STRIDE2(depthwise_gradient_k5_stride2_even, 5, 0, STRIDE2_BLOCKS)
DEPTHWISE_GRADIENT_STRIDE2(depthwise_gradient_k5_stride2_odd, 5, 1, STRIDE2_BLOCKS)
DEPTHWISE_GRADIENT_STRIDE2(depthwise_gradient_k7_stride2_even, 7, 0, STRIDE2_BLOCKS_OF_7)
DEPTHWISE_GRADIENT_STRIDE2(depthwise_gradient_k7_stride2_odd, 7, 1, STRIDE2_BLOCKS_OF_7)

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

// Kernels of one size: a block makes a tile of the output, of `across` × `down` strips in `images` images and of TILE_CHANNELS
// channels. It brings what that reads into shared memory, past the prologue and with zeros for the padding, so that a number
// is made ready once for all taps that read it. Then every thread makes R × STRIP outputs of V channels.
#define TILE_CHANNELS 16
#define TILE_THREADS 128
#define STRIP 4
// Pixels that a thread has under way to shared memory.
#define TILE_LOADS 7

#define TILE_QUADS (TILE_CHANNELS / 4)
#define TILE_PIXELS (TILE_THREADS / TILE_QUADS)

// How the output is cut: strips side by side, strips below each other and images of a tile; tiles side by side; and what the
// pixels of the input's tile are multiplied by instead of divided by its columns and by its rows, 2¹⁶ as much.
struct __align__(8) TileCut { int across, down, images, wide, by_columns, by_rows; };

// Brings `count` pixels, as they lie in lines of `columns`, `rows` lines an image, to shared memory, from image n, row i and
// column j on, of the four channels from c on. After each STEP columns a place stays free, so that neighbouring strips lie in
// different banks.
template <int STEP>
__device__ __forceinline__ void bring_tile(const number* __restrict__ x, const Prologue<4>& prologue, int n, int i, int j,
                                           int c, unsigned int count, unsigned int rows, unsigned int columns,
                                           unsigned int pitch, const TileCut& tiles, const Window& g, float* to) {
    // What is less becomes 0: nothing is less than a NaN.
    const float least = prologue.rectifies ? 0.0f : of_bits(0x7fffffffu);
    for (unsigned int first = threadIdx.x / TILE_QUADS; first < count; first += TILE_LOADS * TILE_PIXELS) {
        // Without branches, so that all loads can be under way together: what is not there is read from the first pixel.
        Pack<4> values[TILE_LOADS];
        bool inside[TILE_LOADS];
        unsigned int places[TILE_LOADS];
#pragma unroll
        for (int l = 0; l < TILE_LOADS; ++l) {
            const unsigned int pixel = first + l * TILE_PIXELS, line = (pixel * tiles.by_columns) >> 16;
            const unsigned int column = pixel - line * columns, image = (line * tiles.by_rows) >> 16;
            const unsigned int row = i + line - image * rows, place = j + column;
            inside[l] = (pixel < count) & (row < (unsigned int)g.height) & (place < (unsigned int)g.width);
            const unsigned int from = ((n + image) * g.height + row) * g.width + place;
            values[l] = load<4>(x + (inside[l] ? (size_t)from * g.channels : 0) + c);
            places[l] = (line * pitch + column + column / STEP) * TILE_CHANNELS;
        }
#pragma unroll
        for (int l = 0; l < TILE_LOADS; ++l) {
#pragma unroll
            for (int v = 0; v < 4; ++v) {
                const float read = fmaf(values[l].v[v], prologue.factor.v[v], prologue.offset.v[v]);
                values[l].v[v] = inside[l] & !(read < least) ? read : 0.0f;
            }
            if (first + l * TILE_PIXELS < count) store(to + places[l], values[l]);
        }
    }
}

// blockIdx.x picks the channels, blockIdx.y the tile of the image, blockIdx.z the images.
template <int K, int S, int D, int V, int R>
__device__ __forceinline__ void depthwise_tile(const number* __restrict__ x, const float* factor, const float* offset,
                                               int with_relu, const float* __restrict__ w, number* y, const TileCut& tiles,
                                               const Window& g, float* room, float* weight_room) {
    const unsigned int across = tiles.across, down = tiles.down;
    // The block's channels and its first output.
    const int group = blockIdx.x * TILE_CHANNELS, n = blockIdx.z * tiles.images;
    const int i = blockIdx.y / tiles.wide * down * R, j = blockIdx.y % tiles.wide * across * STRIP;
    const unsigned int images = min(tiles.images, g.images - n);
    const unsigned int rows = (down * R - 1) * S + (K - 1) * D + 1, columns = (across * STRIP - 1) * S + (K - 1) * D + 1;
    const unsigned int pitch = columns + (columns - 1) / (STRIP * S);
    const int quad = threadIdx.x % TILE_QUADS * 4, pixel = threadIdx.x / TILE_QUADS;
    if (group + quad < g.channels) {
        Pack<4> own[(K * K + TILE_PIXELS - 1) / TILE_PIXELS];
#pragma unroll
        for (int t = 0; t < K * K; t += TILE_PIXELS)
            own[t / TILE_PIXELS] = load<4>(w + min(t + pixel, K * K - 1) * g.channels + group + quad);
        const Prologue<4> prologue(factor, offset, group + quad, with_relu);
        bring_tile<STRIP * S>(x, prologue, n, i * S - g.top, j * S - g.left, group + quad, images * rows * columns, rows,
                              columns, pitch, tiles, g, room + quad);
#pragma unroll
        for (int t = 0; t < K * K; t += TILE_PIXELS)
            if (t + pixel < K * K) store(weight_room + (t + pixel) * TILE_CHANNELS + quad, own[t / TILE_PIXELS]);
    }
    __syncthreads();

    const unsigned int lanes = TILE_CHANNELS / V, strip = threadIdx.x / lanes, image = strip / across / down;
    const int c = threadIdx.x % lanes * V, own_j = j + strip % across * STRIP, own_i = i + strip / across % down * R;
    if (image >= images || group + c >= g.channels) return;
    const unsigned int corner = (image * rows + (own_i - i) * S) * pitch + strip % across * (STRIP * S + 1);
    const float* line = room + corner * TILE_CHANNELS + c;
    Pack<V> weights[K * K], sums[R][STRIP];
#pragma unroll
    for (int t = 0; t < K * K; ++t) weights[t] = load<V>(weight_room + t * TILE_CHANNELS + c);
#pragma unroll
    for (int r = 0; r < R; ++r) {
#pragma unroll
        for (int p = 0; p < STRIP; ++p) sums[r][p] = splat<V>(0.0f);
    }
#pragma unroll
    for (int row = 0; row <= (R - 1) * S + (K - 1) * D; ++row) {
        Pack<V> values[(STRIP - 1) * S + (K - 1) * D + 1];
#pragma unroll
        for (int m = 0; m <= (STRIP - 1) * S + (K - 1) * D; ++m)
            values[m] = load<V>(line + (m + m / (STRIP * S)) * TILE_CHANNELS);
        line += pitch * TILE_CHANNELS;
#pragma unroll
        for (int r = 0; r < R; ++r) {
            const int a = (row - r * S) / D;
            if (row < r * S || (row - r * S) % D != 0 || a >= K) continue;
#pragma unroll
            for (int b = 0; b < K; ++b) {
#pragma unroll
                for (int p = 0; p < STRIP; ++p) fma<V>(sums[r][p], values[p * S + b * D], weights[a * K + b]);
            }
        }
    }
    number* to = y + (((size_t)(n + image) * g.out_height + own_i) * g.out_width + own_j) * g.channels + group + c;
#pragma unroll
    for (int r = 0; r < R; ++r) {
#pragma unroll
        for (int p = 0; p < STRIP; ++p) {
            if ((own_i + r < g.out_height) & (own_j + p < g.out_width)) store(to + p * g.channels, sums[r][p]);
        }
        to += g.out_width * g.channels;
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

// PIXELS: the largest tile of the input, with the free places; as in depthwise.rs.
#define DEPTHWISE_TILE(NAME, PIXELS, BLOCKS, K, ...)                                                                     \
    extern "C" __global__ void __launch_bounds__(TILE_THREADS, BLOCKS)                                                   \
        NAME(const number* __restrict__ x, const float* factor, const float* offset, int with_relu,                      \
             const float* __restrict__ w, number* y, TileCut tiles, Window g) {                                          \
        __shared__ __align__(16) float room[PIXELS * TILE_CHANNELS];                                                     \
        __shared__ __align__(16) float weights[K * K * TILE_CHANNELS];                                                   \
        depthwise_tile<K, __VA_ARGS__>(x, factor, offset, with_relu, w, y, tiles, g, room, weights);                     \
    }

DEPTHWISE_TILE(depthwise_k3, 480, 6, 3, 1, 1, 2, 4)
DEPTHWISE_TILE(depthwise_k5, 672, 4, 5, 1, 1, 2, 4)
DEPTHWISE_TILE(depthwise_k7, 480, 5, 7, 1, 1, 1, 4)
DEPTHWISE_TILE(depthwise_k3_stride2, 336, 6, 3, 2, 1, 1, 2)
DEPTHWISE_TILE(depthwise_k5_stride2, 432, 6, 5, 2, 1, 1, 2)
DEPTHWISE_TILE(depthwise_k7_stride2, 536, 5, 7, 2, 1, 1, 2)
DEPTHWISE_TILE(depthwise_k3_dilated, 672, 4, 3, 1, 2, 2, 4)
DEPTHWISE_TILE(depthwise_k5_dilated, 696, 4, 5, 1, 2, 2, 4)
DEPTHWISE(depthwise_any_4, depthwise<4>)
DEPTHWISE(depthwise_any_1, depthwise<1>)

DEPTHWISE_INPUT(depthwise_input_any_4, depthwise_input<4>)
DEPTHWISE_INPUT(depthwise_input_any_1, depthwise_input<1>)

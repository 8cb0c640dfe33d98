// The weight gradient of narrow dense convolutions, whose taps find the same few channels again and again, on the tensor cores
// (compute capability 8.0 and later): a product over output pixels, which are cut into parts that `join_parts` joins.
//
// A block takes some tiles of the output, each of whole rows of some images, and of these some channels and filters. What a
// tile reads of x, past the prologue and with zeros around the images, and of dy lies in shared memory as in the tensors, a
// pixel's channels side by side: so for each tap the pixels that it reads lie at one distance from those of the first tap. The
// next tile is on its way while one is multiplied. Warps share out the sums, taps × channels down and filters across, and
// where that leaves warps over, pixels. The sums stay in registers until the last tile.

// Bytes for tiles in shared memory, and pixels of one at most.
#define WEIGHTS_ROOM 48128
#define WEIGHTS_PIXELS 256
// So many times 16 rows of the product a warp makes: 16 channels of a tap each.
#define WEIGHTS_DOWN 5
// Numbers of 16 bytes.
#define WEIGHTS_CHUNK (16 / (int)sizeof(number))

// How it is cut; see convolution_narrow_weights.rs.
struct __align__(8) NarrowWeights {
    // As in `Window`, but an axis of one tap without a border has stride 1 and longer steps in memory.
    int images, height, width, channels, out_height, out_width, filters, taps;
    int kernel_width, stride_y, stride_x, dilation_y, dilation_x, top, left;
    int image_step, row_step, pixel_step;  // of x, in numbers
    // A tile's images, output rows of each, rows and columns of x for these; tiles of a set of so many images, and in all.
    int tile_images, tile_rows, lines, columns, down, tiles;
    // Of a block: channels, filters, warps for other sums and for other pixels.
    int block_channels, block_filters, units, shares;
    // How threads bring x: the chunks of a row's pixels and of a pixel, threads side by side, and how many times so many.
    int line_chunks, chunks, across, deep;
    int filter_log;  // 2 to this are the chunks of a pixel of dy
    int by_lines, by_chunks, by_across;  // 2¹⁶ / each of these, rounded up: to multiply by instead of a division
    int dy_at, stage, stages;  // in numbers, where dy lies and the next tile begins, and the tiles in shared memory
};

#ifndef EMULATED
// Copies 16 bytes to shared memory, or zeros, while the thread goes on.
__device__ __forceinline__ void copy_later(void* to, const void* from, bool real) {
#if __CUDA_ARCH__ >= 800
    const unsigned int at = (unsigned int)__cvta_generic_to_shared(to);
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(at), "l"(from), "r"(real ? 16 : 0) : "memory");
#else
    __trap();
#endif
}
// Ends a set of such copies.
__device__ __forceinline__ void end_copies() {
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}
// Waits for all of this thread's sets but the last N.
template <int N> __device__ __forceinline__ void await_copies() {
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
#endif
}
#endif

// 16 channels of some pixels, the terms of one product, as the lanes take them: a left factor, or two right ones.
#ifdef BF16
typedef unsigned int Narrow;
#define multiply_narrow multiply_bf16
template <bool RIGHT> struct NarrowFragment {
    static const int PIXELS = 16, OF_LANE = 1;  // of the latter a lane has the addresses
    Narrow v[4];
    static __device__ __forceinline__ int pixel(int lane, int) { return lane % 8 + (RIGHT ? lane / 8 % 2 : lane / 16) * 8; }
    static __device__ __forceinline__ int channel(int lane) { return (RIGHT ? lane / 16 : lane / 8 % 2) * 8; }
    __device__ __forceinline__ NarrowFragment(const number* from, const int (&at)[OF_LANE]) { load_turned(v, from + at[0]); }
};
#else
typedef float Narrow;
#define multiply_narrow multiply_rounded
template <bool RIGHT> struct NarrowFragment {
    static const int PIXELS = 8, OF_LANE = 2;
    Narrow v[4];
    static __device__ __forceinline__ int pixel(int lane, int q) { return lane % 4 + q * 4; }
    static __device__ __forceinline__ int channel(int lane) { return lane / 4; }
    __device__ __forceinline__ NarrowFragment(const number* from, const int (&at)[OF_LANE]) {
#pragma unroll
        for (int q = 0; q < OF_LANE; ++q) {
            v[RIGHT ? q : q * 2] = from[at[q]];
            v[RIGHT ? q + 2 : q * 2 + 1] = from[at[q] + 8];
        }
    }
};
#endif

// From a pixel to the next in shared memory: a step that keeps lanes in different banks.
__device__ __forceinline__ int narrow_pitch(int channels) { return (channels / 8 | 1) * 8; }

// What a block's threads bring into shared memory, and where to.
struct NarrowTiles {
    const NarrowWeights& g;
    const number *x, *dy;
    number* room;
    int c0, f0, pitch, filter_pitch, beside, line_pitch;
    __device__ __forceinline__ NarrowTiles(const NarrowWeights& of, const number* from, const number* from_dy, number* to)
        : g(of), x(from), dy(from_dy), room(to) {
        const int slices = (g.channels + g.block_channels - 1) / g.block_channels;
        c0 = blockIdx.y % slices * g.block_channels;
        f0 = blockIdx.y / slices * g.block_filters;
        pitch = narrow_pitch(g.block_channels);
        filter_pitch = narrow_pitch(g.block_filters);
        // At stride 2 the even columns lie side by side, and then the odd ones.
        beside = g.stride_x == 2 ? (g.columns + 1) / 2 : g.columns;
        line_pitch = beside * g.stride_x * pitch;
    }
    __device__ __forceinline__ int place_of_column(int column) const {
        return (g.stride_x == 2 ? column % 2 * beside + column / 2 : column) * pitch;
    }
    // it(to, from, real, channel) for each 16 bytes of x that are this thread's, and for those of dy with a negative channel:
    // always the same ones, which are real where there are such numbers.
    template <class F> __device__ __forceinline__ void each(int tile, number* stage, F it) const {
        const int set = tile / g.down, n0 = set * g.tile_images, i0 = (tile - set * g.down) * g.tile_rows;
        const int thread = threadIdx.x, below = thread * g.by_across >> 16, top = i0 * g.stride_y - g.top;
        const number* const images = x + (size_t)n0 * g.image_step + c0;
        for (int k = below < g.deep ? thread - below * g.across : g.line_chunks; k < g.line_chunks; k += g.across) {
            const int column = k * g.by_chunks >> 16, c = (k - column * g.chunks) * WEIGHTS_CHUNK;
            if (c0 + c >= g.channels) continue;
            const int from = column * g.pixel_step + c, to = place_of_column(column + g.left) + c;
            for (int line = below; line < g.tile_images * g.lines; line += g.deep) {
                const int image = line * g.by_lines >> 16, i = top + line - image * g.lines;
                const bool real = (n0 + image < g.images) & ((unsigned int)i < (unsigned int)g.height);
                const int at = from + image * g.image_step + i * g.row_step;
                it(stage + to + line * line_pitch, images + (real ? at : 0), real, c0 + c);
            }
        }
        const int log = g.filter_log, f = (thread & ((1 << log) - 1)) * WEIGHTS_CHUNK;
        const int pixels = (g.tile_images * g.tile_rows * g.out_width + 15) / 16 * 16;
        const int count = min(g.tile_images, g.images - n0) * min(g.tile_rows, g.out_height - i0) * g.out_width;
        const int first = (n0 * g.out_height + i0) * g.out_width;
        const bool is_filter = f0 + f < g.filters;
        const number* const from = dy + (size_t)first * g.filters + (is_filter ? f0 + f : 0);
        for (int p = thread >> log; p < pixels; p += blockDim.x >> log) {
            const bool real = (p < count) & is_filter;
            it(stage + g.dy_at + p * filter_pitch + f, from + (real ? p : 0) * g.filters, real, -1);
        }
    }
    __device__ __forceinline__ void bring(int tile, number* stage) const {
        each(tile, stage, [](number* to, const number* from, bool real, int) { copy_later(to, from, real); });
    }
    // Makes of what this thread has brought what is multiplied.
    __device__ __forceinline__ void prepare(int tile, number* stage, const float* factor, const float* offset,
                                            int with_relu) const {
        each(tile, stage, [&](number* to, const number*, bool real, int c) {
            if (!real) return;
            Pack<WEIGHTS_CHUNK> values = load<WEIGHTS_CHUNK>(to);
            if (c >= 0) values = Prologue<WEIGHTS_CHUNK>(factor, offset, c, with_relu).of(values);
#ifndef BF16
#pragma unroll
            for (int v = 0; v < WEIGHTS_CHUNK; ++v) values.v[v] = to_tf32(values.v[v]);
#endif
            store(to, values);
        });
    }
};

// blockIdx.x is the part, blockIdx.y picks channels and filters, blockIdx.z the warps' sums where a block has not enough of
// them. A warp makes PAIRS times 16 filters. `room` has WEIGHTS_ROOM bytes, `places` is for WEIGHTS_PIXELS.
template <int PAIRS>
__device__ __forceinline__ void narrow_weights(const number* x, const float* factor, const float* offset, int with_relu,
                                               const number* dy, float* parts, const NarrowWeights& g, number* room,
                                               int* places) {
    const int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, unit = warp % g.units, share = warp / g.units;
    typedef NarrowFragment<false> Left;
    typedef NarrowFragment<true> Right;
    const NarrowTiles tiles(g, x, dy, room);
    const int pixels = g.tile_images * g.tile_rows * g.out_width;
    // Borders stay zeros.
    for (int at = threadIdx.x * WEIGHTS_CHUNK; at < g.stages * g.stage; at += blockDim.x * WEIGHTS_CHUNK)
        store(room + at, splat<WEIGHTS_CHUNK>(0.0f));
    // Where the first tap finds a pixel; beyond the last one dy is 0.
    for (int p = threadIdx.x; p < WEIGHTS_PIXELS; p += blockDim.x) {
        const int line = p / g.out_width, image = line / g.tile_rows, row = line % g.tile_rows;
        const int at = (image * g.lines + row * g.stride_y) * tiles.line_pitch + p % g.out_width * tiles.pitch;
        places[p] = p < pixels ? at : 0;
    }
    // What this warp makes, and how far from there its taps and channels lie.
    const int wide = g.block_filters / (16 * PAIRS), number_of_unit = blockIdx.z * g.units + unit;
    const int all = (g.block_channels + 15) / 16 * g.taps, down = number_of_unit / wide * WEIGHTS_DOWN;
    const int across = number_of_unit % wide * 16 * PAIRS;
    int distance[WEIGHTS_DOWN], sixteen = down / g.taps, row = down % g.taps / g.kernel_width;
    int column = down % g.taps % g.kernel_width;
#pragma unroll
    for (int i = 0; i < WEIGHTS_DOWN; ++i) {
        const int at = row * g.dilation_y * tiles.line_pitch + tiles.place_of_column(column * g.dilation_x) + sixteen * 16;
        // Beyond the last one anything is made.
        distance[i] = (down + i < all ? at : 0) + Left::channel(lane);
        const bool row_ends = ++column == g.kernel_width;
        column = row_ends ? 0 : column;
        row += row_ends;
        const bool taps_end = row * g.kernel_width == g.taps;
        row = taps_end ? 0 : row;
        sixteen += taps_end;
    }
    float sums[WEIGHTS_DOWN][2 * PAIRS][4] = {};
    __syncthreads();

    // With two tiles in shared memory the next one is brought before one is multiplied.
    const int ahead = (g.stages - 1) * gridDim.x;
    int which = 0;
    for (int next = blockIdx.x, tile = next - ahead; tile < g.tiles; next += gridDim.x, tile += gridDim.x) {
        if (next < g.tiles) tiles.bring(next, room + which * g.stage);
        end_copies();
        if (tile < 0) {
            which = 1;
            continue;
        }
        which ^= g.stages - 1;
        number* const stage = room + which * g.stage;
        if (ahead)
            await_copies<1>();
        else
            await_copies<0>();
#ifdef BF16
        if (factor || with_relu)
#endif
            tiles.prepare(tile, stage, factor, offset, with_relu);
        __syncthreads();
#pragma unroll 1
        for (int first = share * Left::PIXELS; first < pixels; first += g.shares * Left::PIXELS) {
            int at[Left::OF_LANE], at_dy[Right::OF_LANE];
#pragma unroll
            for (int q = 0; q < Left::OF_LANE; ++q) {
                at[q] = places[first + Left::pixel(lane, q)];
                at_dy[q] = (first + Right::pixel(lane, q)) * tiles.filter_pitch + Right::channel(lane);
            }
            Narrow right[2 * PAIRS][2];
#pragma unroll
            for (int pair = 0; pair < PAIRS; ++pair) {
                const Right both(stage + g.dy_at + across + pair * 16, at_dy);
#pragma unroll
                for (int k = 0; k < 4; ++k) right[pair * 2 + k / 2][k % 2] = both.v[k];
            }
#pragma unroll
            for (int i = 0; i < WEIGHTS_DOWN; ++i) {
                const Left left(stage + distance[i], at);
#pragma unroll
                for (int j = 0; j < 2 * PAIRS; ++j) multiply_narrow(sums[i][j], left.v, right[j]);
            }
        }
        __syncthreads();
    }

    // Over the warps that have the same sums of other pixels, in their order.
    float* const own = reinterpret_cast<float*>(room) + (unit * WEIGHTS_DOWN * 2 * PAIRS * WARP + lane) * 4;
    for (int other = 1; other < g.shares; ++other) {
        if (share == other) {
#pragma unroll
            for (int i = 0; i < WEIGHTS_DOWN; ++i)
#pragma unroll
                for (int j = 0; j < 2 * PAIRS; ++j) {
                    Pack<4> sum;
#pragma unroll
                    for (int q = 0; q < 4; ++q) sum.v[q] = sums[i][j][q];
                    store(own + (i * 2 * PAIRS + j) * WARP * 4, sum);
                }
        }
        __syncthreads();
        if (share == 0) {
#pragma unroll
            for (int i = 0; i < WEIGHTS_DOWN; ++i)
#pragma unroll
                for (int j = 0; j < 2 * PAIRS; ++j) {
                    const Pack<4> sum = load<4>(own + (i * 2 * PAIRS + j) * WARP * 4);
#pragma unroll
                    for (int q = 0; q < 4; ++q) sums[i][j][q] += sum.v[q];
                }
        }
        __syncthreads();
    }
    if (share != 0) return;
    float* const part = parts + (size_t)blockIdx.x * g.taps * g.channels * g.filters;
#pragma unroll
    for (int i = 0; i < WEIGHTS_DOWN; ++i) {
        const int m = down + i, c = tiles.c0 + m / g.taps * 16 + lane / 4;
        if (m >= all) break;
#pragma unroll
        for (int j = 0; j < 2 * PAIRS; ++j) {
            const int f = tiles.f0 + across + j * 8 + lane % 4 * 2;
            float* const to = part + (m % g.taps * g.channels + c) * g.filters + f;
#pragma unroll
            for (int half = 0; half < 2; ++half) {
                Pack<2> pair;
                pair.v[0] = sums[i][j][half * 2];
                pair.v[1] = sums[i][j][half * 2 + 1];
                if (c + half * 8 < g.channels && f < g.filters) store(to + half * 8 * g.filters, pair);
            }
        }
    }
}

#define CONVOLUTION_NARROW_WEIGHTS(F, PAIRS)                                                                             \
    extern "C" __global__ void __launch_bounds__(256, 2)                                                                 \
        convolution_narrow_weights_##F(const number* x, const float* factor, const float* offset, int with_relu,         \
                                       const number* dy, float* parts, NarrowWeights g) {                                \
        __shared__ __align__(16) number room[WEIGHTS_ROOM / sizeof(number)];                                              \
        __shared__ int places[WEIGHTS_PIXELS];                                                                            \
        narrow_weights<PAIRS>(x, factor, offset, with_relu, dy, parts, g, room, places);                                 \
    }
CONVOLUTION_NARROW_WEIGHTS(16, 1)
CONVOLUTION_NARROW_WEIGHTS(32, 2)

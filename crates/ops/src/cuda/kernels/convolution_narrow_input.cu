// The input gradient of a dense convolution to few filters, on the tensor cores: dx = what a ReLU lets through of the sum over
// taps and filters of dy · w. Factors are rounded to TF32, or to bfloat16 where tensors are of it (compute capability 8.0 and
// later).
//
// With stride 2 along an axis, pixels that lie an even number of steps apart along it read dy through the same taps, each
// at the same place from where the pixel's own would be. Such pixels have one phase: 1, 2 or 4 phases in all. Rows and columns
// of a phase's pixels are counted in strides, as those of dy are.
//
// A block brings into shared memory what reaches a tile of dx, with zeros outside dy, and the filters of its 16 · Q channels.
// A warp makes 32 pixels of one phase. Where there is not room for all filters they come in several passes.

#define NARROW_INPUT_TAPS 49
// Bytes of shared memory, and how many times 16 bytes of dy a thread has under way to it at once.
#define NARROW_INPUT_ROOM 49152
#define NARROW_INPUT_LOADS 4

// How it is cut; made by convolution_narrow_input.rs.
struct __align__(8) NarrowInput {
    // Tiles beside each other and below each other; columns and rows that a tile takes of an image of dy.
    Divisor across, down, columns, rows;
    int top, left;  // The first of these, from the tile's first.
    int tile_images, tile_rows, tile_columns, tiles;  // A tile's images, and its rows and columns in strides.
    int images, height, width, channels, out_height, out_width, filters, stride_y, stride_x;
    int slabs, passes;     // So many times 16 filters are taken at a time.
    int line_bits;         // 2 to this times 16 bytes of a pixel of dy are these.
    int units;             // Warps of a phase.
    int taps, first[5];    // Taps by phase, and where each phase's begin.
    // A tap's number, and 64 times the pixel, of those that a tile takes of dy, that the tile's first reads through it.
    unsigned int tap[NARROW_INPUT_TAPS];
};

// 16 bytes of a tensor as they lie in memory, and how they go to shared memory.
#ifdef BF16
typedef uint4 GradientLine;
__device__ __forceinline__ GradientLine no_line() { return make_uint4(0, 0, 0, 0); }
__device__ __forceinline__ void store_factor(number* to, const GradientLine& q) { *reinterpret_cast<GradientLine*>(to) = q; }
__device__ __forceinline__ void store_factor(number* to, const Pack<4>& p) { store(to, p); }
#else
typedef float4 GradientLine;
__device__ __forceinline__ GradientLine no_line() { return make_float4(0.0f, 0.0f, 0.0f, 0.0f); }
__device__ __forceinline__ void store_factor(number* to, Pack<4> p) {
#pragma unroll
    for (int v = 0; v < 4; ++v) p.v[v] = to_tf32(p.v[v]);
    store(to, p);
}
__device__ __forceinline__ void store_factor(number* to, const GradientLine& q) { store_factor(to, pack(q)); }
#endif

// c += a · b of 16 rows, 16 terms and 8 columns, of each of which a lane has four terms next to each other.
__device__ __forceinline__ void add_products(float (&c)[4], const Four (&a)[2], const Four& b) {
#ifdef BF16
    const unsigned int down[4] = {a[0].x, a[1].x, a[0].y, a[1].y}, beside[2] = {b.x, b.y};
    multiply_bf16(c, down, beside);
#else
    const float down[2][4] = {{a[0].x, a[1].x, a[0].y, a[1].y}, {a[0].z, a[1].z, a[0].w, a[1].w}};
    const float beside[2][2] = {{b.x, b.y}, {b.z, b.w}};
    multiply_rounded(c, down[0], beside[0]);
    multiply_rounded(c, down[1], beside[1]);
#endif
}

// Where a tile begins: an image, and a row and a column in strides.
struct TileStart {
    int n, i, j;
    __device__ __forceinline__ TileStart(const NarrowInput& g, int tile) {
        const int line = g.across.of(tile), group = g.down.of(line);
        n = group * g.tile_images;
        i = (line - group * g.down.by) * g.tile_rows;
        j = (tile - line * g.across.by) * g.tile_columns;
    }
};

// blockIdx.y picks the channels; blocks take tiles, blockIdx.x first. x may be null: then all goes through.
template <int Q>
__device__ __forceinline__ void narrow_input(const number* __restrict__ dy, const float* __restrict__ w,
                                             const number* __restrict__ x, const float* factor, const float* offset,
                                             number* dx, int add, const NarrowInput& g, number* room) {
    // Whether there are registers for what lies at dx while the products are made.
    const bool early = sizeof(number) == 2;
    const int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, group = lane / 4, within = lane % 4;
    const int c0 = blockIdx.y * 16 * Q, channels = g.channels - c0 - within * 4;
    // Shared memory holds dy by slab of 16 filters, pixel and filter; the filters; and where the pixels' numbers lie in dy.
    const int count = g.tile_images * g.rows.by * g.columns.by, plane = count * 16;
    number* const filters = room + g.slabs * plane;
    int* const places = reinterpret_cast<int*>(filters + g.slabs * g.taps * Q * 256);

    // The warp's phase, and the taps of it. Of the warp's pixels a lane finds one, and makes some channels of four, in two
    // rows of each of two products. What is beyond the tile's is made and left.
    const int phase = warp / g.units, phase_y = phase >> (g.stride_x - 1), phase_x = phase & (g.stride_x - 1);
    const int first_tap = g.first[phase], end_tap = g.first[phase + 1];
    const int row = (warp - phase * g.units) * WARP + lane, line = row / g.tile_columns;
    const int own_image = line / g.tile_rows, own_i = line - own_image * g.tile_rows, own_j = row - line * g.tile_columns;
    // Where no tap leads there is nothing to add.
    const bool writes = own_image < g.tile_images && (end_tap > first_tap || !add);
    const bool gates = x != nullptr && end_tap > first_tap;
    const int read = own_image < g.tile_images ? (own_image * g.rows.by + own_i) * g.columns.by + own_j : 0;
    const number* down_from[2][2];
#pragma unroll
    for (int m = 0; m < 2; ++m)
#pragma unroll
        for (int r = 0; r < 2; ++r)
            down_from[m][r] = room + __shfl_sync(ALL_LANES, read, m * 16 + r * 8 + group) * 16 + within * 4;

    for (int tile = blockIdx.x; tile < g.tiles; tile += gridDim.x) {
        const TileStart start(g, tile);
        for (int pixel = threadIdx.x; pixel < count; pixel += 256) {
            const int line = g.columns.of(pixel), image = g.rows.of(line), n = start.n + image;
            const int i = start.i + g.top + line - image * (int)g.rows.by;
            const int j = start.j + g.left + pixel - line * (int)g.columns.by;
            const bool inside = (n < g.images) & ((unsigned int)i < (unsigned int)g.out_height) &
                                ((unsigned int)j < (unsigned int)g.out_width);
            places[pixel] = inside ? ((n * g.out_height + i) * g.out_width + j) * g.filters : -1;
        }
        const int n = start.n + own_image, y = (start.i + own_i) * g.stride_y + phase_y;
        const int x_column = (start.j + own_j) * g.stride_x + phase_x;
        const bool inside = writes & (n < g.images) & (y < g.height) & (x_column < g.width);
        const int place = inside ? ((n * g.height + y) * g.width + x_column) * g.channels : -1;
        // Where the lane's channels lie of the four pixels; less than 0 if not there.
        int at[2][2];
#pragma unroll
        for (int m = 0; m < 2; ++m)
#pragma unroll
            for (int r = 0; r < 2; ++r) at[m][r] = __shfl_sync(ALL_LANES, place, m * 16 + r * 8 + group);
        const auto is_there = [&](int m, int r, int q) { return (at[m][r] >= 0) & (q * 16 < channels); };
        // Without branches, so that loads are under way together: what is not there is read from the beginning.
        const auto four = [&](const number* from, int m, int r, int q) {
            return *reinterpret_cast<const Four*>(from + (is_there(m, r, q) ? at[m][r] + c0 + within * 4 + q * 16 : 0));
        };
        Four passed[Q][2][2] = {}, old[Q][2][2] = {};
        const auto bring_old = [&](int q) {
#pragma unroll
            for (int m = 0; m < 2; ++m)
#pragma unroll
                for (int r = 0; r < 2; ++r) old[q][m][r] = four(dx, m, r, q);
        };
        float sums[2][2 * Q][4] = {};
        for (int pass = 0; pass < g.passes; ++pass) {
            __syncthreads();
            // A thread takes the same filters of some pixels.
            const int own_filter = (int)((threadIdx.x & ((1u << g.line_bits) - 1)) * (16 / sizeof(number)));
            const int filter = pass * g.slabs * 16 + own_filter, pixels_at_once = 256 >> g.line_bits;
            const bool has = filter < g.filters;
            number* const to = room + (own_filter >> 4) * plane + (own_filter & 15);
            for (int first = threadIdx.x >> g.line_bits; first < count; first += NARROW_INPUT_LOADS * pixels_at_once) {
                GradientLine came[NARROW_INPUT_LOADS];
#pragma unroll
                for (int l = 0; l < NARROW_INPUT_LOADS; ++l) {
                    const int place = places[min(first + l * pixels_at_once, count - 1)];
                    came[l] = no_line();
                    const number* const from = dy + (unsigned int)(place + filter);
                    if (has & (place >= 0)) came[l] = *reinterpret_cast<const GradientLine*>(from);
                }
#pragma unroll
                for (int l = 0; l < NARROW_INPUT_LOADS; ++l) {
                    const int pixel = first + l * pixels_at_once;
                    if (pixel < count) store_factor(to + pixel * 16, came[l]);
                }
            }
            // The filters as the lanes take them: by slab, tap, 16 channels and, of these first the even ones, then the odd
            // ones, each lane's four filters of its channel. So a lane has four channels in a row of what the two make.
            const int pieces = g.passes > 1 || tile == blockIdx.x ? g.slabs * g.taps * Q : 0;
            for (int piece = warp; piece < pieces; piece += 8) {
                const int slab = piece / Q / g.taps, tap = (int)(g.tap[piece / Q - slab * g.taps] % 64);
                const int c = piece % Q * 16 + group * 2, f = (pass * g.slabs + slab) * 16 + within * 4;
                Pack<4> of[2] = {};
#pragma unroll
                for (int odd = 0; odd < 2; ++odd)
                    if ((c0 + c < g.channels) & (f < g.filters))
                        of[odd] = load<4>(w + ((tap * g.channels + c0 + c + odd) * g.filters + f));
#pragma unroll
                for (int odd = 0; odd < 2; ++odd) store_factor(filters + ((piece * 2 + odd) * WARP + lane) * 4, of[odd]);
            }
            // What waits for the products is on its way meanwhile.
            const bool last = pass + 1 == g.passes;
            if (last && gates) {
#pragma unroll
                for (int q = 0; q < Q; ++q)
#pragma unroll
                    for (int m = 0; m < 2; ++m)
#pragma unroll
                        for (int r = 0; r < 2; ++r) passed[q][m][r] = four(x, m, r, q);
            }
            if (last && early && add) {
#pragma unroll
                for (int q = 0; q < Q; ++q) bring_old(q);
            }
            __syncthreads();
            for (int slab = 0; slab < g.slabs; ++slab) {
                const number* beside_from = filters + ((slab * g.taps + first_tap) * Q * 2 * WARP + lane) * 4;
#pragma unroll 1
                for (int k = first_tap; k < end_tap; ++k, beside_from += Q * 2 * WARP * 4) {
                    const int ahead = slab * plane + (int)(g.tap[k] / 64 * 16);
                    Four down[2][2];
#pragma unroll
                    for (int m = 0; m < 2; ++m)
#pragma unroll
                        for (int r = 0; r < 2; ++r) down[m][r] = *reinterpret_cast<const Four*>(down_from[m][r] + ahead);
#pragma unroll
                    for (int j = 0; j < 2 * Q; ++j) {
                        const Four beside = *reinterpret_cast<const Four*>(beside_from + j * WARP * 4);
#pragma unroll
                        for (int m = 0; m < 2; ++m) add_products(sums[m][j], down[m], beside);
                    }
                }
            }
        }
#pragma unroll
        for (int q = 0; q < Q; ++q) {
            const int c = c0 + (q * 16 < channels ? q * 16 + within * 4 : 0);
            const Prologue<4> prologue(gates ? factor : nullptr, offset, c, 0);
            if (!early && add) bring_old(q);
#pragma unroll
            for (int m = 0; m < 2; ++m)
#pragma unroll
                for (int r = 0; r < 2; ++r) {
                    Pack<4> made;
#pragma unroll
                    for (int v = 0; v < 4; ++v) made.v[v] = sums[m][2 * q + v % 2][2 * r + v / 2];
                    if (gates) made = prologue.gate(pack(passed[q][m][r]), made);
                    plus(made, pack(old[q][m][r]));
                    if (is_there(m, r, q)) store(dx + (at[m][r] + c), made);
                }
        }
    }
}

#define NARROW_INPUT(NAME, Q)                                                                                            \
    extern "C" __global__ void __launch_bounds__(256, 2)                                                                 \
        NAME(const number* __restrict__ dy, const float* __restrict__ w, const number* __restrict__ x,                   \
             const float* factor, const float* offset, number* dx, int add, NarrowInput g) {                             \
        __shared__ __align__(16) unsigned char room[NARROW_INPUT_ROOM];                                                  \
        narrow_input<Q>(dy, w, x, factor, offset, dx, add, g, reinterpret_cast<number*>(room));                          \
    }
NARROW_INPUT(convolution_narrow_input_16, 1)
NARROW_INPUT(convolution_narrow_input_32, 2)

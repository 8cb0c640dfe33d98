// Both gradients of a pointwise convolution to few channels, and that of the batch norm after it, by one read of what they
// need: dz = g · factor + z' · slope + constant as in batch_norm_gradient.cu, dx = dz · wᵀ and dw = prologue(x)ᵀ · dz.
//
// A block makes dz of a tile of rows in shared memory. A warp takes eight rows and some of x's channels at a time, as the
// products wᵀ · dz and prologue(x)ᵀ · dz on the tensor cores with x's channels down: then a lane has the numbers of x that the
// second needs where the first leaves dx, and what it reads and writes of both stays in its registers.

// How dz comes of dy; without a mean it is dy.
struct __align__(8) Incoming {
    const number* z;
    const float *shares, *mean, *factor, *offset, *slope, *constant;
    float share;
    int image_rows, with_relu, stride;  // From a row of dy to the next.
};

// V numbers as they lie in memory, which are on their way until they are unpacked.
#ifdef BF16
template <int V> struct Raw { unsigned int v[V / 2]; };
__device__ __forceinline__ Raw<2> read(const number* from, Raw<2>) { return {{*reinterpret_cast<const unsigned int*>(from)}}; }
__device__ __forceinline__ Raw<4> read(const number* from, Raw<4>) {
    const uint2 q = *reinterpret_cast<const uint2*>(from);
    return {{q.x, q.y}};
}
template <int V> __device__ __forceinline__ Pack<V> unpacked(const Raw<V>& raw) {
    Pack<V> p;
#pragma unroll
    for (int i = 0; i < V; ++i) p.v[i] = of_bits(i % 2 ? raw.v[i / 2] & 0xffff0000u : raw.v[i / 2] << 16);
    return p;
}
#else
template <int V> using Raw = Pack<V>;
template <int V> __device__ __forceinline__ Raw<V> read(const number* from, Raw<V>) { return load<V>(from); }
template <int V> __device__ __forceinline__ Pack<V> unpacked(const Raw<V>& raw) { return raw; }
#endif
// Reads where `real`, and else gives zeros.
template <int V> __device__ __forceinline__ Raw<V> read_if(bool real, const number* from) {
    Raw<V> raw = {};
    if (real) raw = read(from, raw);
    return raw;
}

// What a kernel for up to N of dy's channels takes: a warp S times 8 · V of x's channels, and UNITS times eight rows of each
// tile. Blocks have LEAST warps for channels at least, so that a thread makes UNITS · N / 16 / LEAST packs of dz.
template <int N, int V, int S, int UNITS, int LEAST> struct PointwiseGradient {
    static const int CHANNELS = S * V * 8, ACROSS = N / 8, PACKS = N / 4, MADE = UNITS * N / 16 / LEAST;
    // The channels of dy that a lane has side by side in the second product.
    static const int BESIDE = N == 16 ? 2 : 4;
    // From a row of dz to the next, and of a warp's sums: steps that keep a warp's lanes in different banks.
    static const int STEP = N + 4, SUM_STEP = N + 1;
    static const int ROWS = UNITS * 8 * (8 / LEAST);
    union Room {
        struct { __align__(16) float dz[2][ROWS * STEP], norm[5][N]; } tiles;
        float sums[8 * CHANNELS * SUM_STEP];
    };
    struct Product { float v[S][V / 2][ACROSS][4]; };

    // For x of rows × all and dy of rows × n numbers, multiples of 4, n ≤ N. A block has 32 lanes × warps for channels × warps
    // for rows, and takes tiles from blockIdx.x on and the channels of its warps from blockIdx.y on. parts: [blocks][all][n],
    // which join_parts joins. dx may be null. With `with_relu` dx is what a ReLU of the prologue let through.
    static __device__ __forceinline__ void run(const number* __restrict__ x, const float* factor, const float* offset,
                                               int with_relu, const float* __restrict__ w, const number* __restrict__ dy,
                                               const Incoming& norm, int rows, int all, int n, number* dx, int add,
                                               float* parts, Room& room) {
        const int lane = threadIdx.x, group = lane / 4, within = lane % 4, warp = threadIdx.z * blockDim.y + threadIdx.y;
        const int thread = warp * WARP + lane, threads = blockDim.z * blockDim.y * WARP;
        const int tall = blockDim.z * UNITS * 8, tiles = (rows + tall - 1) / tall;
        // What the thread makes of dz.
        const int c = thread % PACKS * 4, own_row = thread / PACKS, rows_at_once = threads / PACKS;
        const bool of_dz = c < n, normalises = norm.mean != nullptr;
        const int step = normalises ? norm.stride : n;
        const Share share = {norm.shares, norm.share, norm.image_rows};
        // What it takes of x: V channels of each slab, of rows 2 · within and the next one of each unit.
        const int first = (blockIdx.y * blockDim.y + threadIdx.y) * CHANNELS + V * group;
        const int warp_row = threadIdx.z * UNITS * 8;

        if (normalises && thread < N) {
            const float* const vectors[5] = {norm.mean, norm.factor, norm.offset, norm.slope, norm.constant};
#pragma unroll
            for (int v = 0; v < 5; ++v) room.tiles.norm[v][thread] = thread < n ? vectors[v][thread] : 0.0f;
        }

        Raw<4> z[MADE], came[MADE];
        float shares[MADE];
        const auto bring_dz = [&](int tile) {
#pragma unroll
            for (int i = 0; i < MADE; ++i) {
                const int local = own_row + i * rows_at_once, row = tile * tall + local;
                const bool real = of_dz && local < tall && row < rows;
                came[i] = read_if<4>(real, dy + (size_t)row * step + c);
                z[i] = read_if<4>(real && normalises, norm.z + (size_t)row * n + c);
                shares[i] = norm.share;
                if (share.each && real) shares[i] = share.of((unsigned int)row);
            }
        };
        Raw<V> own[UNITS][2][S], old[UNITS][2][S];
        const auto row_of = [&](int tile, int u, int h) { return tile * tall + warp_row + u * 8 + 2 * within + h; };
        const auto bring_x = [&](int tile) {
#pragma unroll
            for (int u = 0; u < UNITS; ++u)
#pragma unroll
                for (int h = 0; h < 2; ++h) {
                    const size_t at = (size_t)row_of(tile, u, h) * all + first;
                    const bool inside = row_of(tile, u, h) < rows;
#pragma unroll
                    for (int s = 0; s < S; ++s) {
                        const bool real = inside && first + s * 8 * V < all;
                        own[u][h][s] = read_if<V>(real, x + at + s * 8 * V);
                        old[u][h][s] = read_if<V>(real && add && dx, dx + at + s * 8 * V);
                    }
                }
        };
        bring_dz(blockIdx.x);
        bring_x(blockIdx.x);

        Product left, sums;
        Prologue<V> prologues[S];
#pragma unroll
        for (int s = 0; s < S; ++s) {
            const int channel = first + s * 8 * V;
            prologues[s] = Prologue<V>(channel < all ? factor : nullptr, offset, channel, with_relu);
            prologues[s].normalises = factor != nullptr;
#pragma unroll
            for (int t = 0; t < V / 2; ++t)
#pragma unroll
                for (int j = 0; j < ACROSS; j += 2) {
                    // The terms of two steps are four channels side by side.
                    const int column = j * 8 + within * 4;
#pragma unroll
                    for (int i = 0; i < 2; ++i) {
                        const int row = channel + 2 * t + i;
                        const Pack<4> four = row < all && column < n ? load<4>(w + (size_t)row * n + column) : splat<4>(0.0f);
#pragma unroll
                        for (int v = 0; v < 4; ++v) {
                            left.v[s][t][j + v / 2][i + v % 2 * 2] = to_tf32(four.v[v]);
                            sums.v[s][t][j + v / 2][i + v % 2 * 2] = 0.0f;
                        }
                    }
                }
        }
        __syncthreads();

        int turn = 0;
        for (int tile = blockIdx.x; tile < tiles; tile += gridDim.x, turn ^= 1) {
            const int next = tile + gridDim.x;
            // Warps that are still at the tile before read the other buffer.
            float* const buffer = room.tiles.dz[turn];
#pragma unroll
            for (int i = 0; i < MADE; ++i) {
                const int local = own_row + i * rows_at_once, row = tile * tall + local;
                if (local >= tall) continue;
                Pack<4> dz = unpacked<4>(came[i]);
                if (normalises) {
                    const Pack<4> value = unpacked<4>(z[i]), f = load<4>(room.tiles.norm[1] + c);
                    const Pack<4> m = load<4>(room.tiles.norm[0] + c), o = load<4>(room.tiles.norm[2] + c);
                    const Pack<4> s = load<4>(room.tiles.norm[3] + c), q = load<4>(room.tiles.norm[4] + c);
                    dz = let_through<4>(value, Share::times<4>(shares[i], dz), f, o, norm.with_relu);
#pragma unroll
                    for (int v = 0; v < 4; ++v) {
                        dz.v[v] = fmaf(dz.v[v], f.v[v], fmaf(value.v[v] - m.v[v], s.v[v], q.v[v]));
                        if (row >= rows) dz.v[v] = 0.0f;
                    }
                }
#pragma unroll
                for (int v = 0; v < 4; ++v) dz.v[v] = to_tf32(dz.v[v]);
                store(buffer + local * STEP + c, dz);
            }
            __syncthreads();
            // The next ones are on their way meanwhile; past the end they are zeros.
            bring_dz(next);
#pragma unroll
            for (int u = 0; u < UNITS; ++u) {
                const float* const unit = buffer + (warp_row + u * 8) * STEP;
                float right[ACROSS][2];
#pragma unroll
                for (int j = 0; j < ACROSS; j += 2) {
                    const Pack<4> four = load<4>(unit + group * STEP + j * 8 + within * 4);
#pragma unroll
                    for (int v = 0; v < 4; ++v) right[j + v / 2][v % 2] = four.v[v];
                }
                float rounded[S][V / 2][4];
#pragma unroll
                for (int s = 0; s < S; ++s) {
                    Pack<V> value[2], made[2];
#pragma unroll
                    for (int h = 0; h < 2; ++h) {
                        value[h] = prologues[s].of(unpacked<V>(own[u][h][s]));
#pragma unroll
                        for (int v = 0; v < V; ++v) rounded[s][v / 2][v % 2 + 2 * h] = to_tf32(value[h].v[v]);
                    }
                    if (!dx) continue;
#pragma unroll
                    for (int t = 0; t < V / 2; ++t) {
                        float four[4] = {0.0f, 0.0f, 0.0f, 0.0f};
#pragma unroll
                        for (int j = 0; j < ACROSS; ++j) multiply_rounded(four, left.v[s][t][j], right[j]);
#pragma unroll
                        for (int h = 0; h < 2; ++h) {
                            made[h].v[2 * t] = four[h];
                            made[h].v[2 * t + 1] = four[2 + h];
                        }
                    }
#pragma unroll
                    for (int h = 0; h < 2; ++h) {
                        // A ReLU's output is positive where its input is.
#pragma unroll
                        for (int v = 0; v < V; ++v)
                            if (with_relu && !(value[h].v[v] > 0.0f)) made[h].v[v] = 0.0f;
                        plus(made[h], unpacked<V>(old[u][h][s]));
                        const int row = row_of(tile, u, h), channel = first + s * 8 * V;
                        if (row < rows && channel < all) store(dx + (size_t)row * all + channel, made[h]);
                    }
                }
                // Of two rows, whose numbers of x the lane has: those of dz that lie beside each other.
#pragma unroll
                for (int j = 0; j < ACROSS; j += BESIDE) {
                    Pack<BESIDE> pair[2];
#pragma unroll
                    for (int h = 0; h < 2; ++h) pair[h] = load<BESIDE>(unit + (2 * within + h) * STEP + j * 8 + group * BESIDE);
#pragma unroll
                    for (int i = 0; i < BESIDE; ++i) {
                        const float b[2] = {pair[0].v[i], pair[1].v[i]};
#pragma unroll
                        for (int s = 0; s < S; ++s)
#pragma unroll
                            for (int t = 0; t < V / 2; ++t) multiply_rounded(sums.v[s][t][j + i], rounded[s][t], b);
                    }
                }
            }
            bring_x(next);
        }
        __syncthreads();

        // The warps' sums, each a matrix of its channels by N.
        float* const mine = room.sums + warp * CHANNELS * SUM_STEP;
#pragma unroll
        for (int s = 0; s < S; ++s)
#pragma unroll
            for (int t = 0; t < V / 2; ++t)
#pragma unroll
                for (int j = 0; j < ACROSS; ++j)
#pragma unroll
                    for (int i = 0; i < 4; ++i) {
                        const int row = s * 8 * V + V * group + 2 * t + i / 2;
                        const int column = j / BESIDE * BESIDE * 8 + (2 * within + i % 2) * BESIDE + j % BESIDE;
                        mine[row * SUM_STEP + column] = sums.v[s][t][j][i];
                    }
        __syncthreads();
        const int block_channels = blockDim.y * CHANNELS, block_first = blockIdx.y * block_channels;
        for (int i = thread; i < block_channels * N; i += threads) {
            const int row = i / N, column = i % N, channel = block_first + row;
            if (channel >= all || column >= n) continue;
            float sum = 0.0f;
            for (int g = 0; g < blockDim.z; ++g) sum += room.sums[(g * block_channels + row) * SUM_STEP + column];
            parts[((size_t)blockIdx.x * all + channel) * n + column] = sum;
        }
    }
};

#define POINTWISE_GRADIENT(NAME, N, V, S, UNITS, LEAST)                                                                  \
    extern "C" __global__ void __launch_bounds__(256, 2)                                                                 \
        NAME(const number* __restrict__ x, const float* factor, const float* offset, int with_relu,                      \
             const float* __restrict__ w, const number* __restrict__ dy, Incoming norm, int rows, int k, int n,          \
             number* dx, int add, float* parts) {                                                                        \
        typedef PointwiseGradient<N, V, S, UNITS, LEAST> Kernel;                                                         \
        __shared__ Kernel::Room room;                                                                                    \
        Kernel::run(x, factor, offset, with_relu, w, dy, norm, rows, k, n, dx, add, parts, room);                        \
    }
POINTWISE_GRADIENT(pointwise_gradient_16, 16, 2, 1, 2, 1)
POINTWISE_GRADIENT(pointwise_gradient_16_wide, 16, 2, 3, 1, 1)
POINTWISE_GRADIENT(pointwise_gradient_32, 32, 4, 1, 1, 1)
POINTWISE_GRADIENT(pointwise_gradient_64, 64, 2, 1, 2, 4)

// Both gradients of a pointwise convolution to few channels, and that of the batch norm after it, by one read of what they
// need: dz = g · factor + z' · slope + constant as in batch_norm_gradient.cu, dx = dz · wᵀ and dw = prologue(x)ᵀ · dz. A block
// makes dz of a tile of rows in shared memory, of which its warps take some rows and some of x's channels at a time to the tensor
// cores; x and dx never leave a lane's registers. See pointwise_bf16.cu for tensors in bfloat16.

// How dz comes of dy; without a mean it is dy.
struct __align__(8) Incoming {
    const number* z;
    const float *shares, *mean, *factor, *offset, *slope, *constant;
    float share;
    int image_rows, with_relu, stride;  // From a row of dy to the next.
};

// The parts of dw: of each of a block's warps, the ones for rows after each other, sums of its channels of x by N of dy's.
template <int N, int CHANNELS, int SUM_STEP>
__device__ __forceinline__ void join_sums(const float* room, int all, int n, float* parts) {
    const int thread = (threadIdx.z * blockDim.y + threadIdx.y) * WARP + threadIdx.x;
    const int threads = blockDim.z * blockDim.y * WARP;
    const int block_channels = blockDim.y * CHANNELS, block_first = blockIdx.y * block_channels;
    const int all_sums = block_channels * N;
    // Four at a time, whose numbers are read together.
    for (int i = thread; i < all_sums; i += 4 * threads) {
        float joined[4] = {};
        for (int g = 0; g < blockDim.z; ++g)
#pragma unroll
            for (int v = 0; v < 4; ++v) {
                const int at = min(i + v * threads, all_sums - 1);
                joined[v] += room[(g * block_channels + at / N) * SUM_STEP + at % N];
            }
#pragma unroll
        for (int v = 0; v < 4; ++v) {
            const int at = i + v * threads, column = at % N, channel = block_first + at / N;
            if (at < all_sums && channel < all && column < n)
                parts[((size_t)blockIdx.x * all + channel) * n + column] = joined[v];
        }
    }
}

#define POINTWISE_GRADIENT(NAME, ...)                                                                                    \
    extern "C" __global__ void __launch_bounds__(256, 2)                                                                 \
        NAME(const number* __restrict__ x, const float* factor, const float* offset, int with_relu,                      \
             const float* __restrict__ w, const number* __restrict__ dy, Incoming norm, int rows, int k, int n,          \
             number* dx, int add, float* parts) {                                                                        \
        typedef PointwiseGradient<__VA_ARGS__> Kernel;                                                                   \
        __shared__ __align__(16) float room[Kernel::ROOM];                                                               \
        Kernel::run(x, factor, offset, with_relu, w, dy, norm, rows, k, n, dx, add, parts, room);                        \
    }

#ifndef BF16
// In fp32 a warp takes eight rows at a time, as w · dzᵀ and prologue(x)ᵀ · dz, both with x's channels down: so a lane has those
// numbers of x for the second product of which it makes dx in the first.

// What a kernel for up to N of dy's channels takes: a warp S times 8 · V of x's channels, and UNITS times eight rows of each
// tile. Blocks have LEAST warps for channels at least, so that a thread makes UNITS · N / 16 / LEAST packs of dz.
template <int N, int V, int S, int UNITS, int LEAST> struct PointwiseGradient {
    static const int CHANNELS = S * V * 8, ACROSS = N / 8, PACKS = N / 4, MADE = UNITS * N / 16 / LEAST;
    // The channels of dy that a lane has side by side in the second product.
    static const int BESIDE = N == 16 ? 2 : 4;
    // From a row of dz to the next, and of a warp's sums: steps that keep a warp's lanes in different banks.
    static const int STEP = N + 4, SUM_STEP = N + 1;
    // Shared memory holds the norm's five vectors, w as the first product takes it and two tiles of dz, in the end the sums.
    // With as few warps for channels as may be tiles have the most rows, with eight of them there is the most of w.
    static const int FRAGMENTS = CHANNELS * N, UNIT = 8 * UNITS * STEP;
    static const int NARROW_ROOM = LEAST * FRAGMENTS + 2 * 8 / LEAST * UNIT, WIDE_ROOM = 8 * FRAGMENTS + 2 * UNIT;
    static const int TILES_ROOM = 5 * N + (NARROW_ROOM > WIDE_ROOM ? NARROW_ROOM : WIDE_ROOM);
    static const int SUMS_ROOM = 8 * CHANNELS * SUM_STEP, ROOM = TILES_ROOM > SUMS_ROOM ? TILES_ROOM : SUMS_ROOM;

    // For x of rows × all and dy of rows × n numbers, multiples of 4, n ≤ N. A block has 32 lanes × warps for channels × warps
    // for rows, eight warps at most. Blocks take tiles of rows, blockIdx.x first; blockIdx.y picks the channels. parts:
    // [blocks][all][n], which join_parts joins. dx may be null. With `with_relu` dx is what a ReLU of the prologue let through.
    static __device__ __forceinline__ void run(const number* __restrict__ x, const float* factor, const float* offset,
                                               int with_relu, const float* __restrict__ w, const number* __restrict__ dy,
                                               const Incoming& norm, int rows, int all, int n, number* dx, int add,
                                               float* parts, float* room) {
        const int lane = threadIdx.x, group = lane / 4, within = lane % 4, warp = threadIdx.z * blockDim.y + threadIdx.y;
        const int thread = warp * WARP + lane, threads = blockDim.z * blockDim.y * WARP;
        const int tall = blockDim.z * UNITS * 8, tiles = (rows + tall - 1) / tall;
        // Of dz the thread makes four channels of some rows.
        const int c = thread % PACKS * 4, own_row = thread / PACKS, rows_at_once = threads / PACKS;
        const bool of_dz = c < n, normalises = norm.mean != nullptr;
        const int step = normalises ? norm.stride : n;
        const Share share = {norm.shares, norm.share, norm.image_rows};
        // Of x it takes V channels of each of S slabs, and of each unit of eight rows two: 2 · within and the next.
        const int first = (blockIdx.y * blockDim.y + threadIdx.y) * CHANNELS + V * group;
        const int warp_row = threadIdx.z * UNITS * 8;

        // The norm's vectors are stored once all else that the first tile waits for is on its way.
        const float* const vectors[5] = {norm.mean, norm.factor, norm.offset, norm.slope, norm.constant};
        float numbers[5] = {};
#pragma unroll
        for (int v = 0; v < 5; ++v)
            if (normalises & (thread < n)) numbers[v] = vectors[v][thread];

        // What is on its way. Rows past the end are read as the last one, and their dz is then 0.
        Pack<4> z[MADE], came[MADE];
        float shares[MADE];
        bool makes[MADE];
#pragma unroll
        for (int i = 0; i < MADE; ++i) {
            came[i] = z[i] = {};
            shares[i] = norm.share;
            makes[i] = own_row + i * rows_at_once < tall;
        }
        const auto bring_dz = [&](int tile) {
#pragma unroll
            for (int i = 0; i < MADE; ++i) {
                const unsigned int row = min(tile * tall + own_row + i * rows_at_once, rows - 1);
                if (of_dz & makes[i]) came[i] = load<4>(dy + ((size_t)row * (unsigned int)step + c));
                if (of_dz & makes[i] & normalises) z[i] = load<4>(norm.z + (row * n + c));
                if (share.each && makes[i]) shares[i] = share.of(row);
            }
        };
        Pack<V> own[UNITS][2][S], old[UNITS][2][S];
        bool real[S];
#pragma unroll
        for (int s = 0; s < S; ++s) {
            real[s] = first + s * 8 * V < all;
#pragma unroll
            for (int i = 0; i < UNITS * 2; ++i) own[i / 2][i % 2][s] = old[i / 2][i % 2][s] = {};
        }
        const bool writes = dx != nullptr, adds = writes && add, passes = !with_relu;
        const auto row_of = [&](int tile, int u, int h) { return tile * tall + warp_row + u * 8 + 2 * within + h; };
        // Where the first number of x or dx that it takes of a row lies.
        const auto place = [&](int tile, int u, int h) {
            return (unsigned int)(min(row_of(tile, u, h), rows - 1) * all + first);
        };
        const auto bring = [&](const number* from, bool wanted, int tile, int u, Pack<V> (&to)[2][S]) {
#pragma unroll
            for (int h = 0; h < 2; ++h)
#pragma unroll
                for (int s = 0; s < S; ++s)
                    if (real[s] & wanted) to[h][s] = load<V>(from + place(tile, u, h) + s * 8 * V);
        };
        bring_dz(blockIdx.x);
#pragma unroll
        for (int u = 0; u < UNITS; ++u) {
            bring(x, true, blockIdx.x, u, own[u]);
            bring(dx, adds, blockIdx.x, u, old[u]);
        }

        Prologue<V> prologues[S];
        float sums[S][V / 2][ACROSS][4];
        float* const left = room + 5 * N + threadIdx.y * FRAGMENTS + lane * 4;
        float* const dz_room = room + 5 * N + blockDim.y * FRAGMENTS;
#pragma unroll
        for (int s = 0; s < S; ++s) {
            const int channel = first + s * 8 * V;
            prologues[s] = Prologue<V>(real[s] ? factor : nullptr, offset, channel, with_relu);
            // Without a norm the factor is 1 and the offset 0.
            prologues[s].normalises = true;
#pragma unroll
            for (int t = 0; t < V / 2; ++t)
#pragma unroll
                for (int j = 0; j < ACROSS; j += 2) {
                    // Two steps' terms are four channels of dz side by side.
                    const int column = j * 8 + within * 4;
                    const bool has = real[s] && column < n;
                    const float* const from = w + (channel + 2 * t) * n + column;
                    const Pack<4> upper = has ? load<4>(from) : splat<4>(0.0f);
                    const Pack<4> lower = has ? load<4>(from + n) : splat<4>(0.0f);
#pragma unroll
                    for (int i = 0; i < 2; ++i) {
                        const Pack<4> four = {{to_tf32(upper.v[2 * i]), to_tf32(lower.v[2 * i]), to_tf32(upper.v[2 * i + 1]),
                                               to_tf32(lower.v[2 * i + 1])}};
                        if (threadIdx.z == 0) store(left + ((s * V / 2 + t) * ACROSS + j + i) * WARP * 4, four);
#pragma unroll
                        for (int v = 0; v < 4; ++v) sums[s][t][j + i][v] = 0.0f;
                    }
                }
        }
        if (thread < N) {
#pragma unroll
            for (int v = 0; v < 5; ++v) room[v * N + thread] = numbers[v];
        }
        __syncthreads();

        int turn = 0;
        for (int tile = blockIdx.x; tile < tiles; tile += gridDim.x, turn ^= 1) {
            const int next = tile + gridDim.x;
            // Warps that are still at the tile before read the other buffer.
            float* const buffer = dz_room + turn * tall * STEP;
#pragma unroll
            for (int i = 0; i < MADE; ++i) {
                if (!makes[i]) continue;
                const int local = own_row + i * rows_at_once;
                const bool inside = of_dz && tile * tall + local < rows;
                Pack<4> dz = came[i];
                if (normalises) {
                    const Pack<4> value = z[i], m = load<4>(room + c), f = load<4>(room + N + c);
                    const Pack<4> o = load<4>(room + 2 * N + c), s = load<4>(room + 3 * N + c), q = load<4>(room + 4 * N + c);
                    dz = let_through<4>(value, Share::times<4>(shares[i], dz), f, o, norm.with_relu);
#pragma unroll
                    for (int v = 0; v < 4; ++v)
                        dz.v[v] = fmaf(dz.v[v], f.v[v], fmaf(value.v[v] - m.v[v], s.v[v], q.v[v]));
                }
#pragma unroll
                for (int v = 0; v < 4; ++v) dz.v[v] = to_tf32(inside ? dz.v[v] : 0.0f);
                store(buffer + local * STEP + c, dz);
            }
            __syncthreads();
            // The next numbers are on their way meanwhile.
            bring_dz(next);
#pragma unroll
            for (int u = 0; u < UNITS; ++u) {
                const float* const unit = buffer + (warp_row + u * 8) * STEP;
                // As the second product takes x: of two channels and both rows.
                float rounded[S][V / 2][4];
#pragma unroll
                for (int s = 0; s < S; ++s)
#pragma unroll
                    for (int h = 0; h < 2; ++h) {
                        const Pack<V> value = prologues[s].of(own[u][h][s]);
#pragma unroll
                        for (int v = 0; v < V; ++v) rounded[s][v / 2][v % 2 + 2 * h] = to_tf32(value.v[v]);
                    }
                bring(x, true, next, u, own[u]);
                float products[S][V / 2][4] = {};
#pragma unroll
                for (int j = 0; j < ACROSS; j += 2) {
                    const Pack<4> four = load<4>(unit + group * STEP + j * 8 + within * 4);
                    const float right[2][2] = {{four.v[0], four.v[1]}, {four.v[2], four.v[3]}};
#pragma unroll
                    for (int i = 0; i < 2 * S * V / 2; ++i) {
                        const int at = i / 2, step = i % 2;
                        const Pack<4> a = load<4>(left + (at * ACROSS + j + step) * WARP * 4);
                        multiply_rounded(products[at / (V / 2)][at % (V / 2)], a.v, right[step]);
                    }
                }
#pragma unroll
                for (int s = 0; s < S; ++s) {
                    // A ReLU's output is positive where its input is. The lane has dx of what it has of x.
                    Pack<V> made[2];
#pragma unroll
                    for (int i = 0; i < 2 * V; ++i) {
                        const int h = i / V, v = i % V;
                        const bool through = (rounded[s][v / 2][v % 2 + 2 * h] > 0.0f) | passes;
                        made[h].v[v] = through ? products[s][v / 2][v % 2 * 2 + h] : 0.0f;
                    }
#pragma unroll
                    for (int h = 0; h < 2; ++h) {
                        plus(made[h], old[u][h][s]);
                        const bool inside = row_of(tile, u, h) < rows;
                        if (inside & real[s] & writes) store(dx + place(tile, u, h) + s * 8 * V, made[h]);
                    }
                }
                bring(dx, adds, next, u, old[u]);
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
                            for (int t = 0; t < V / 2; ++t) multiply_rounded(sums[s][t][j + i], rounded[s][t], b);
                    }
                }
            }
        }
        __syncthreads();

        // The warps' sums, each a matrix of its channels by N.
        float* const mine = room + warp * CHANNELS * SUM_STEP;
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
                        mine[row * SUM_STEP + column] = sums[s][t][j][i];
                    }
        __syncthreads();
        join_sums<N, CHANNELS, SUM_STEP>(room, all, n, parts);
    }
};

POINTWISE_GRADIENT(pointwise_gradient_16, 16, 2, 1, 2, 1)
POINTWISE_GRADIENT(pointwise_gradient_16_wide, 16, 2, 3, 1, 1)
POINTWISE_GRADIENT(pointwise_gradient_32, 32, 4, 1, 1, 1)
POINTWISE_GRADIENT(pointwise_gradient_64, 64, 2, 1, 1, 4)
#endif

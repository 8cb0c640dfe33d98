// The kernels of pointwise.cu for tensors in bfloat16, whose products are of bfloat16 too. A warp takes sixteen rows at a
// time. A lane has of two of them four of each sixteen channels of x, and makes these of dx = dz · wᵀ; they are turned among the
// warp's lanes for dwᵀ = dzᵀ · prologue(x). Its part of w stays in its registers.

#ifdef BF16
// All bits of each of two numbers that is not 0.
__device__ __forceinline__ unsigned int where_not_0(unsigned int pair) {
    // An exponent or a fraction carries into the sign, which is then that of both bytes.
    const unsigned int carried = (pair & 0x7fff7fffu) + 0x7fff7fffu;
    return signs_of_halves(carried);
}

// What a kernel for up to N of dy's channels takes: a warp UNITS times sixteen rows and S times sixteen of x's channels. Blocks have
// LEAST warps for channels at least.
template <int N, int S, int UNITS, int LEAST> struct PointwiseGradient {
    static const int CHANNELS = 16 * S, ROWS = 16 * UNITS, PACKS = N / 4, MADE = ROWS * PACKS / WARP / LEAST;
    // From a row of dz to the next, and of a warp's sums: steps that keep a warp's lanes in different banks.
    static const int STEP = N + 8, SUM_STEP = N + 2;
    // Shared memory holds four vectors of the norm, two of x's prologue and two tiles of dz, in the end the sums.
    static const int VECTORS = 4 * N + 2 * 8 * CHANNELS, TILES_ROOM = VECTORS + 8 / LEAST * ROWS * STEP;
    static const int SUMS_ROOM = 8 * CHANNELS * SUM_STEP;
    static const int ROOM = TILES_ROOM > SUMS_ROOM ? TILES_ROOM : SUMS_ROOM;

    // For x of rows × all and dy of rows × n numbers, multiples of 4, n ≤ N. A block has 32 lanes × warps for channels × warps
    // for rows, eight warps at most. Blocks take tiles of rows, blockIdx.x first; blockIdx.y picks the channels. parts:
    // [blocks][all][n], which join_parts joins. dx may be null. With `with_relu` dx is what a ReLU of the prologue let through.
    static __device__ __forceinline__ void run(const number* __restrict__ x, const float* factor, const float* offset,
                                               int with_relu, const float* __restrict__ w, const number* __restrict__ dy,
                                               const Incoming& norm, int rows, int all, int n, number* dx, int add,
                                               float* parts, float* room) {
        const int lane = threadIdx.x, group = lane / 4, within = lane % 4;
        const int tall = blockDim.z * ROWS, tiles = (rows + tall - 1) / tall, own = threadIdx.z * ROWS;
        // The warps of the same rows make their dz: each thread four channels of some rows.
        const int member = threadIdx.y * WARP + lane, rows_at_once = blockDim.y * WARP / PACKS;
        const int c = member % PACKS * 4, own_row = member / PACKS, read_c = min(c, n - 4);
        const bool of_dz = c < n, normalises = norm.mean != nullptr;
        // What comes to a ReLU is more where it goes through.
        const float floor = of_bits(normalises && norm.with_relu ? 0u : 0xff800000u);
        const Share share = {normalises ? norm.shares : nullptr, normalises ? norm.share : 1.0f, norm.image_rows};
        const number* const z_of = normalises ? norm.z : dy;
        const unsigned int step = normalises ? norm.stride : n;
        const int warp_first = (blockIdx.y * blockDim.y + threadIdx.y) * CHANNELS, first = warp_first + 4 * within;
        // What is on its way. Rows past the end are read as the last one, and their dz is then 0; channels past it as the
        // last ones, and what is made of them is not stored.
        Four z[MADE], came[MADE], taken[UNITS][2][S], old[UNITS][2][S];
        const auto made_row = [&](int tile, int i) { return tile * tall + own + own_row + i * rows_at_once; };
        const auto bring_dz = [&](int tile) {
#pragma unroll
            for (int i = 0; i < MADE; ++i) {
                const unsigned int row = min(made_row(tile, i), rows - 1);
                came[i] = *reinterpret_cast<const Four*>(dy + ((size_t)row * step + read_c));
                z[i] = *reinterpret_cast<const Four*>(z_of + (row * n + read_c));
            }
        };
        int channel[S];
#pragma unroll
        for (int s = 0; s < S; ++s) channel[s] = min(first + s * 16, all - 4);
        const bool writes = dx != nullptr, adds = writes && add;
        const unsigned int last = (rows - 1) * all;
        // Where a row of x or dx begins.
        const auto row_at = [&](int tile, int u, int h) {
            return (unsigned int)(tile * tall + own + u * 16 + h * 8 + group) * all;
        };
        const auto bring = [&](const number* from, int tile, int u, Four (&to)[2][S]) {
#pragma unroll
            for (int h = 0; h < 2; ++h)
#pragma unroll
                for (int s = 0; s < S; ++s)
                    to[h][s] = *reinterpret_cast<const Four*>(from + (min(row_at(tile, u, h), last) + channel[s]));
        };
        const int begin = min((int)blockIdx.x, tiles - 1);
        bring_dz(begin);
#pragma unroll
        for (int u = 0; u < UNITS; ++u) {
            bring(x, begin, u, taken[u]);
            if (adds) bring(dx, begin, u, old[u]);
        }

        // The vectors too, which are stored once all else that the first tile waits for is on its way. They are as without a norm
        // where there is none.
        const bool of_norm = normalises & (member < n);
        const float numbers[4] = {of_norm ? norm.factor[member] : 1.0f, of_norm ? norm.offset[member] : 0.0f,
                                  of_norm ? norm.slope[member] : 0.0f, of_norm ? norm.constant[member] : 0.0f};
        const float mean = of_norm ? norm.mean[member] : 0.0f;
        const int OF_LANE = (CHANNELS + WARP - 1) / WARP;
        float scale[OF_LANE], shift[OF_LANE];
#pragma unroll
        for (int l = 0; l < OF_LANE; ++l) {
            const int of = min(warp_first + l * WARP + lane, all - 1);
            scale[l] = factor ? factor[of] : 1.0f;
            shift[l] = factor ? offset[of] : 0.0f;
        }

        // w as the first product takes it: pairs of dz's channels, of x's channel that is this lane's of the product's column.
        unsigned int factors[S][2][N / 16][2];
        float sums[N / 16][S][2][4];
#pragma unroll
        for (int s = 0; s < S; ++s) {
#pragma unroll
            for (int i = 0; i < 2; ++i) {
                const int of = warp_first + s * 16 + group / 2 * 4 + i * 2 + group % 2;
#pragma unroll
                for (int k = 0; k < N / 16; ++k)
#pragma unroll
                    for (int half = 0; half < 2; ++half) {
                        const int column = k * 16 + half * 8 + within * 2;
                        const bool real = (of < all) & (column < n);
                        const Pack<2> pair = load<2>(w + (real ? of * n + column : 0));
                        factors[s][i][k][half] = real ? bf16_pair(pair.v[0], pair.v[1]) : 0u;
                    }
            }
        }
#pragma unroll
        for (int m = 0; m < N / 16; ++m)
#pragma unroll
            for (int i = 0; i < S * 8; ++i) sums[m][i / 8][i / 4 % 2][i % 4] = 0.0f;
        const float least = of_bits(with_relu ? 0u : 0xff800000u);
        float* const prologue = room + 4 * N + threadIdx.y * 2 * CHANNELS;
        if (threadIdx.z == 0) {
            if (member < N) {
#pragma unroll
                for (int v = 0; v < 4; ++v)
                    room[v * N + member] = v == 3 ? fmaf(-mean, numbers[2], numbers[3]) : numbers[v];
            }
#pragma unroll
            for (int l = 0; l < OF_LANE; ++l) {
                if (l * WARP + lane >= CHANNELS) continue;
                prologue[l * WARP + lane] = scale[l];
                prologue[CHANNELS + l * WARP + lane] = shift[l];
            }
        }
        const unsigned int passed = with_relu ? 0u : 0xffffffffu;
        number* const tile_room = reinterpret_cast<number*>(room + VECTORS) + threadIdx.z * 2 * ROWS * STEP;
        __syncthreads();

        int turn = 0;
        for (int tile = blockIdx.x; tile < tiles; tile += gridDim.x, turn ^= 1) {
            // After the last one it again.
            const int next = tile + gridDim.x < tiles ? tile + gridDim.x : tile;
            // Warps that are still at the tile before read the other buffer.
            number* const buffer = tile_room + turn * ROWS * STEP;
            float by[MADE];
#pragma unroll
            for (int i = 0; i < MADE; ++i) by[i] = share.of(min(made_row(tile, i), rows - 1));
#pragma unroll
            for (int i = 0; i < MADE; ++i) {
                const Pack<4> f = load<4>(room + c), o = load<4>(room + N + c);
                const Pack<4> slope = load<4>(room + 2 * N + c), constant = load<4>(room + 3 * N + c);
                const int local = own_row + i * rows_at_once;
                const bool inside = of_dz & (made_row(tile, i) < rows);
                // Nothing is left of what has no share.
                const Pack<4> value = pack(z[i]);
                Pack<4> dz = pack(make_uint2(by[i] == 0.0f ? 0u : came[i].x, by[i] == 0.0f ? 0u : came[i].y));
#pragma unroll
                for (int v = 0; v < 4; ++v) {
                    const bool through = fmaf(value.v[v], f.v[v], o.v[v]) > floor;
                    dz.v[v] = fmaf(through ? dz.v[v] * by[i] : 0.0f, f.v[v], fmaf(value.v[v], slope.v[v], constant.v[v]));
                }
                const Four pairs = to_four(dz);
                if (local < ROWS)
                    *reinterpret_cast<Four*>(buffer + local * STEP + c) = make_uint2(inside ? pairs.x : 0u, inside ? pairs.y : 0u);
            }
            if (blockDim.y == 1)
                __syncwarp();
            else
                __syncthreads();
            // The next numbers are on their way meanwhile.
            bring_dz(next);
#pragma unroll
            for (int u = 0; u < UNITS; ++u) {
                // Matrices of eight rows and eight channels. The first product's a is of rows, so the second matrix is of the next
                // rows; the second's is of channels, so its second matrix is of the next channels.
                const number* const unit = buffer + (u * 16 + lane % 16) * STEP + lane / 16 * 8;
                const number* const across = buffer + (u * 16 + lane % 8 + lane / 16 * 8) * STEP + lane / 8 % 2 * 8;
                unsigned int rounded[S][2][2];
#pragma unroll
                for (int s = 0; s < S; ++s)
#pragma unroll
                    for (int h = 0; h < 2; ++h) {
                        Pack<4> value = load<4>(prologue + CHANNELS + s * 16 + within * 4);
                        fma(value, pack(taken[u][h][s]), load<4>(prologue + s * 16 + within * 4));
#pragma unroll
                        for (int v = 0; v < 4; ++v) value.v[v] = at_least(value.v[v], least);
                        rounded[s][0][h] = bf16_pair(value.v[0], value.v[1]);
                        rounded[s][1][h] = bf16_pair(value.v[2], value.v[3]);
                    }
                bring(x, next, u, taken[u]);
#pragma unroll
                for (int s = 0; s < S && writes; ++s) {
                    float products[2][4] = {};
#pragma unroll
                    for (int k = 0; k < N / 16; ++k) {
                        unsigned int a[4];
                        load_matrices(a, unit + k * 16);
#pragma unroll
                        for (int i = 0; i < 2; ++i) multiply_bf16(products[i], a, factors[s][i][k]);
                    }
#pragma unroll
                    for (int h = 0; h < 2; ++h) {
                        Pack<4> made;
                        unsigned int through[2];
#pragma unroll
                        for (int i = 0; i < 2; ++i) {
                            // A ReLU's output is 0 where nothing goes through.
                            through[i] = where_not_0(rounded[s][i][h]) | passed;
                            made.v[2 * i] = products[i][2 * h];
                            made.v[2 * i + 1] = products[i][2 * h + 1];
                        }
                        if (adds) {
#pragma unroll
                            for (int v = 0; v < 4; ++v)
                                made.v[v] = through[v / 2] & (v % 2 ? 0x10000u : 1u) ? made.v[v] : 0.0f;
                            plus(made, pack(old[u][h][s]));
                            through[0] = through[1] = 0xffffffffu;
                        }
                        Four pairs = to_four(made);
                        pairs.x &= through[0];
                        pairs.y &= through[1];
                        const unsigned int at = row_at(tile, u, h);
                        if ((at <= last) & (first + s * 16 < all)) *reinterpret_cast<Four*>(dx + (at + channel[s])) = pairs;
                    }
                }
                if (adds) bring(dx, next, u, old[u]);
#pragma unroll
                for (int s = 0; s < S; ++s)
#pragma unroll
                    for (int i = 0; i < 2; ++i)
#pragma unroll
                        for (int h = 0; h < 2; ++h) rounded[s][i][h] = turned(rounded[s][i][h]);
#pragma unroll
                for (int m = 0; m < N / 16; ++m) {
                    unsigned int a[4];
                    load_turned(a, across + m * 16);
#pragma unroll
                    for (int s = 0; s < S; ++s)
#pragma unroll
                        for (int i = 0; i < 2; ++i) multiply_bf16(sums[m][s][i], a, rounded[s][i]);
                }
            }
        }
        __syncthreads();

        // The warps' sums, each a matrix of its channels by N.
        const int warp = threadIdx.z * blockDim.y + threadIdx.y;
        float* const mine = room + warp * CHANNELS * SUM_STEP;
#pragma unroll
        for (int m = 0; m < N / 16; ++m)
#pragma unroll
            for (int s = 0; s < S; ++s)
#pragma unroll
                for (int i = 0; i < 2; ++i)
#pragma unroll
                    for (int v = 0; v < 4; ++v)
                        mine[(s * 16 + within * 4 + i * 2 + v % 2) * SUM_STEP + m * 16 + group + v / 2 * 8] = sums[m][s][i][v];
        __syncthreads();
        join_sums<N, CHANNELS, SUM_STEP>(room, all, n, parts);
    }
};

POINTWISE_GRADIENT(pointwise_gradient_16, 16, 1, 2, 1)
POINTWISE_GRADIENT(pointwise_gradient_16_wide, 16, 3, 1, 1)
POINTWISE_GRADIENT(pointwise_gradient_32, 32, 2, 1, 1)
POINTWISE_GRADIENT(pointwise_gradient_64, 64, 1, 1, 4)
#endif

// Both gradients of a pointwise convolution to few channels, and that of the batch norm after it, by one read of what they
// need: dz = g · factor + z' · slope + constant as in batch_norm_gradient.cu, dx = dz · wᵀ and dw = prologue(x)ᵀ · dz.

// How dz comes of dy; without a mean it is dy.
struct __align__(8) Incoming {
    const number* z;
    const float *shares, *mean, *factor, *offset, *slope, *constant;
    float share;
    int image_rows, with_relu, stride;  // From a row of dy to the next.
};

// The numbers of a tile that a thread brings: four channels of two rows.
struct Brought {
    Pack<4> z[2], dy[2], x[2];
    float share[2];
};

// Room for a tile's dz and prologue(x), R rows each, and w. The steps between rows keep a warp's lanes in different banks.
template <int C, int R> struct Room {
    static const int PACKS = C / 4, STEP = C + 4, STEP_X = C + 8;
    __align__(16) float dz[R * STEP], x[R * STEP_X], w[C * STEP];
};

// For x of rows × all and dy of rows × n numbers, multiples of 4, n ≤ C: k ≤ C of x's channels, which blockIdx.y picks. Blocks
// take tiles of R rows, blockIdx.x first. parts: [blocks][all][n], which join_parts joins. dx may be null. With `with_relu` dx
// is what a ReLU of the prologue let through.
template <int C, int R>
__device__ __forceinline__ void pointwise_gradient(const number* __restrict__ x, const float* factor, const float* offset,
                                                   int with_relu, const float* __restrict__ w,
                                                   const number* __restrict__ dy, const Incoming& norm, int rows, int all, int n,
                                                   number* dx, int add, float* parts, Room<C, R>& room) {
    typedef Room<C, R> At;
    const int k0 = blockIdx.y * C, k = all - k0 < C ? all - k0 : C;
    const int ROWS_AT_ONCE = 256 / At::PACKS;
    const int thread = threadIdx.x, lane = thread % WARP, warp = thread / WARP, group = lane / 4, within = lane % 4;
    const int c = thread % At::PACKS * 4, own_row = thread / At::PACKS, tiles = (rows + R - 1) / R;
    const bool of_x = c < k, of_dz = c < n, normalises = norm.mean != nullptr;
    const Prologue<4> prologue(of_x ? factor : nullptr, offset, k0 + c, with_relu);
    const bool has_norm = of_dz && normalises;
    const Pack<4> m = has_norm ? load<4>(norm.mean + c) : splat<4>(0.0f);
    const Pack<4> f = has_norm ? load<4>(norm.factor + c) : splat<4>(1.0f);
    const Pack<4> o = has_norm ? load<4>(norm.offset + c) : splat<4>(0.0f);
    const Pack<4> s = has_norm ? load<4>(norm.slope + c) : splat<4>(0.0f);
    const Pack<4> q = has_norm ? load<4>(norm.constant + c) : splat<4>(0.0f);
    const int step = normalises ? norm.stride : n;
    const Share share = {norm.shares, norm.share, norm.image_rows};

    Brought brought;
    const auto bring = [&](int tile) {
#pragma unroll
        for (int i = 0; i < 2; ++i) {
            const int row = tile * R + own_row + i * ROWS_AT_ONCE;
            const bool real = row < rows;
            brought.dy[i] = real && of_dz ? load<4>(dy + (size_t)row * step + c) : splat<4>(0.0f);
            brought.share[i] = real && has_norm ? share.of((unsigned int)row) : 1.0f;
            brought.z[i] = real && has_norm ? load<4>(norm.z + (size_t)row * n + c) : splat<4>(0.0f);
            brought.x[i] = real && of_x ? load<4>(x + (size_t)row * all + k0 + c) : splat<4>(0.0f);
        }
    };
    // Of dw a warp makes 16 rows and PER times eight columns; where that is more than there are, each takes other rows of
    // the tile.
    const int SPLIT = C == 16 ? 8 : 1, PER = C == 64 ? 4 : C == 32 ? 1 : 2, DOWN = C / 16;
    const int m0 = SPLIT > 1 ? 0 : warp % DOWN * 16, n0 = SPLIT > 1 ? 0 : warp / DOWN * PER * 8;
    const int first_term = SPLIT > 1 ? warp * (R / SPLIT) : 0;
    float sums[PER][4];
#pragma unroll
    for (int j = 0; j < PER; ++j)
#pragma unroll
        for (int i = 0; i < 4; ++i) sums[j][i] = 0.0f;

    bring(blockIdx.x);
    for (int place = thread; place < C * At::PACKS; place += 256) {
        const int row = place / At::PACKS;
        store(room.w + row * At::STEP + c, row < k && c < n ? load<4>(w + (size_t)(k0 + row) * n + c) : splat<4>(0.0f));
    }
    for (int tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
#pragma unroll
        for (int i = 0; i < 2; ++i) {
            const int within_tile = own_row + i * ROWS_AT_ONCE, row = tile * R + within_tile;
            const bool real = row < rows;
            Pack<4> dz = brought.dy[i], value = brought.x[i];
            if (real && has_norm) {
                const Pack<4>& z = brought.z[i];
                dz = let_through<4>(z, Share::times<4>(brought.share[i], dz), f, o, norm.with_relu);
#pragma unroll
                for (int v = 0; v < 4; ++v) dz.v[v] = fmaf(dz.v[v], f.v[v], fmaf(z.v[v] - m.v[v], s.v[v], q.v[v]));
            }
            if (real && of_x) value = prologue.of(value);
            store(room.dz + within_tile * At::STEP + c, dz);
            store(room.x + within_tile * At::STEP_X + c, value);
        }
        __syncthreads();
        // The next ones are on their way meanwhile.
        if (tile + (int)gridDim.x < tiles) bring(tile + gridDim.x);
        if (dx) {
#pragma unroll
            for (int u = 0; u < 2; ++u) {
                const int index = warp * 2 + u, r0 = index / (C / 8) * 16, c0 = index % (C / 8) * 8;
                if (c0 >= k) continue;
                float made[4] = {0.0f, 0.0f, 0.0f, 0.0f};
                const float* const left = room.dz + (r0 + group) * At::STEP + within;
                const float* const right = room.w + (c0 + group) * At::STEP + within;
#pragma unroll
                for (int t = 0; t < C; t += 8) {
                    if (t >= n) break;
                    const float a[4] = {left[t], left[8 * At::STEP + t], left[t + 4], left[8 * At::STEP + t + 4]};
                    const float b[2] = {right[t], right[t + 4]};
                    multiply_tf32(made, a, b);
                }
                const int column = c0 + within * 2;
                if (column >= k) continue;
#pragma unroll
                for (int r = 0; r < 2; ++r) {
                    const int row = tile * R + r0 + group + r * 8;
                    if (row >= rows) continue;
                    float2 value = make_float2(made[2 * r], made[2 * r + 1]);
                    // A ReLU's output is positive where its input is.
                    const float* const after = room.x + (r0 + group + r * 8) * At::STEP_X + column;
                    if (with_relu && !(after[0] > 0.0f)) value.x = 0.0f;
                    if (with_relu && !(after[1] > 0.0f)) value.y = 0.0f;
                    put_pair(dx + (size_t)row * all + k0 + column, value, add);
                }
            }
        }
#pragma unroll
        for (int step = 0; step < R / SPLIT; step += 8) {
            const float* const down = room.x + (first_term + step + within) * At::STEP_X + m0 + group;
            const float* const across = room.dz + (first_term + step + within) * At::STEP + n0 + group;
            const float a[4] = {down[0], down[8], down[4 * At::STEP_X], down[4 * At::STEP_X + 8]};
#pragma unroll
            for (int j = 0; j < PER; ++j) {
                const float b[2] = {across[j * 8], across[4 * At::STEP + j * 8]};
                multiply_tf32(sums[j], a, b);
            }
        }
        __syncthreads();
    }

    float* const part = parts + ((size_t)blockIdx.x * all + k0) * n;
    if (SPLIT == 1) {
#pragma unroll
        for (int j = 0; j < PER; ++j) {
            const int row = m0 + group, column = n0 + j * 8 + within * 2;
            if (column >= n) continue;
            if (row < k) put_pair(part + (size_t)row * n + column, make_float2(sums[j][0], sums[j][1]), 0);
            if (row + 8 < k) put_pair(part + (size_t)(row + 8) * n + column, make_float2(sums[j][2], sums[j][3]), 0);
        }
        return;
    }
    // The warps' sums, which lie in the room of dz.
    const int STEP = 18;
    float* const own = room.dz + (warp * 16 + group) * STEP + within * 2;
#pragma unroll
    for (int j = 0; j < PER; ++j) {
        put_pair(own + j * 8, make_float2(sums[j][0], sums[j][1]), 0);
        put_pair(own + 8 * STEP + j * 8, make_float2(sums[j][2], sums[j][3]), 0);
    }
    __syncthreads();
    const int row = thread / 16, column = thread % 16;
    if (row >= k || column >= n) return;
    float sum = 0.0f;
#pragma unroll
    for (int i = 0; i < 8; ++i) sum += room.dz[(i * 16 + row) * STEP + column];
    part[(size_t)row * n + column] = sum;
}

#define POINTWISE_GRADIENT(C, R)                                                                                         \
    extern "C" __global__ void __launch_bounds__(256, 2)                                                                 \
        pointwise_gradient_##C(const number* __restrict__ x, const float* factor, const float* offset, int with_relu,    \
                               const float* __restrict__ w, const number* __restrict__ dy, Incoming norm, int rows,      \
                               int k, int n, number* dx, int add, float* parts) {                                        \
        __shared__ Room<C, R> room;                                                                                      \
        pointwise_gradient<C, R>(x, factor, offset, with_relu, w, dy, norm, rows, k, n, dx, add, parts, room);           \
    }
POINTWISE_GRADIENT(16, 128)
POINTWISE_GRADIENT(32, 64)
POINTWISE_GRADIENT(64, 32)

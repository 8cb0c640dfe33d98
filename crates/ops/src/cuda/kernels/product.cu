// Products of matrices with many rows and few columns, on the tensor cores with factors rounded to TF32 (compute
// capability 8.0 and later).

// A weight's gradient, c = aᵀ · b for a of rows × m and b of rows × n numbers. Every block sums some rows of a tile of
// SIDE × SIDE numbers, each of its eight warps other rows; `join_parts` joins the blocks' sums.
#define SIDE 32
// Between the rows of a warp's tile in shared memory: 8 more keep the warp's lanes in different banks.
#define TILE_PITCH (SIDE + 8)
#define WARPS 8

// blockIdx.x is the tile, across first; blockIdx.y the part of the rows.
extern "C" __global__ void __launch_bounds__(256, 2)
    product_weights_tf32(const float* __restrict__ a, const float* __restrict__ b, int rows, int m, int n, int rows_per_part,
                         float* parts) {
    __shared__ __align__(16) float room[WARPS * SIDE * TILE_PITCH];
    const int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, group = lane / 4, within = lane % 4;
    const int across = (n + SIDE - 1) / SIDE, m0 = blockIdx.x / across * SIDE, n0 = blockIdx.x % across * SIDE;
    const int first = blockIdx.y * rows_per_part, end = rows - first < rows_per_part ? rows : first + rows_per_part;
    float sums[2][4][4];
    bool down_inside[4], across_inside[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
        down_inside[i] = m0 + i * 8 + group < m;
        across_inside[i] = n0 + i * 8 + group < n;
#pragma unroll
        for (int j = 0; j < 4; ++j) sums[0][i][j] = sums[1][i][j] = 0.0f;
    }
#pragma unroll 2
    for (int row = first + warp * 8; row < end; row += WARPS * 8) {
        // Four times eight columns of a and of b, of the rows `within` and `within + 4`.
        float down[4][2], beside[4][2];
#pragma unroll
        for (int k = 0; k < 2; ++k) {
            const int at = row + within + 4 * k;
            const bool real = at < end;
            const float* const from_a = a + (size_t)at * m + m0 + group;
            const float* const from_b = b + (size_t)at * n + n0 + group;
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                down[i][k] = real && down_inside[i] ? from_a[i * 8] : 0.0f;
                beside[i][k] = real && across_inside[i] ? from_b[i * 8] : 0.0f;
            }
        }
#pragma unroll
        for (int i = 0; i < 2; ++i) {
            const float x[4] = {down[2 * i][0], down[2 * i + 1][0], down[2 * i][1], down[2 * i + 1][1]};
#pragma unroll
            for (int j = 0; j < 4; ++j) multiply_tf32(sums[i][j], x, beside[j]);
        }
    }
    float* const own = room + warp * SIDE * TILE_PITCH;
#pragma unroll
    for (int i = 0; i < 2; ++i) {
#pragma unroll
        for (int j = 0; j < 4; ++j) {
            float* const at = own + (i * 16 + group) * TILE_PITCH + j * 8 + within * 2;
            at[0] = sums[i][j][0];
            at[1] = sums[i][j][1];
            at[8 * TILE_PITCH] = sums[i][j][2];
            at[8 * TILE_PITCH + 1] = sums[i][j][3];
        }
    }
    __syncthreads();
    float* const part = parts + (size_t)blockIdx.y * m * n;
#pragma unroll
    for (int place = threadIdx.x; place < SIDE * SIDE; place += 256) {
        const int i = place / SIDE, j = place % SIDE;
        if (m0 + i >= m || n0 + j >= n) continue;
        float sum = 0.0f;
#pragma unroll
        for (int w = 0; w < WARPS; ++w) sum += room[(w * SIDE + i) * TILE_PITCH + j];
        part[(size_t)(m0 + i) * n + n0 + j] = sum;
    }
}

// y = or += x · w for x of rows × k numbers and w of k × n or, transposed, of n × k numbers; 4 divides k and n. A block makes ROWS × COLUMNS numbers, each of its four warps 16 rows.
#define ROWS 64
#define COLUMNS 64
// Terms that are in shared memory at a time, and the numbers between two of them, which keep a warp's lanes in different banks.
#define TERMS 32
#define TERM_PITCH (COLUMNS + 2)

extern "C" __global__ void __launch_bounds__(128)
    product_tf32(const float* __restrict__ x, const float* __restrict__ w, int rows, int k, int n, int transposed, float* y,
                 int add) {
    __shared__ float room[TERMS * TERM_PITCH];
    const int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, group = lane / 4, within = lane % 4;
    const int row = blockIdx.x * ROWS + warp * 16 + group, n0 = blockIdx.y * COLUMNS;
    float sums[COLUMNS / 8][4];
#pragma unroll
    for (int j = 0; j < COLUMNS / 8; ++j)
#pragma unroll
        for (int i = 0; i < 4; ++i) sums[j][i] = 0.0f;
    for (int k0 = 0; k0 < k; k0 += TERMS) {
        // Of 16 terms a lane has four that follow each other, in two rows.
        Pack<4> own[2][2];
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            const int term = k0 + half * 16 + within * 4;
#pragma unroll
            for (int r = 0; r < 2; ++r) {
                const bool real = term < k && row + r * 8 < rows;
                own[half][r] = real ? load<4>(x + (size_t)(row + r * 8) * k + term) : splat<4>(0.0f);
            }
        }
        __syncthreads();
#pragma unroll
        for (int place = threadIdx.x; place < TERMS * COLUMNS; place += 128) {
            // Consecutive threads read consecutive numbers.
            const int term = transposed ? place % TERMS : place / COLUMNS;
            const int column = transposed ? place / TERMS : place % COLUMNS;
            const bool real = k0 + term < k && n0 + column < n;
            const size_t at = transposed ? (size_t)(n0 + column) * k + k0 + term : (size_t)(k0 + term) * n + n0 + column;
            room[term * TERM_PITCH + column] = real ? w[at] : 0.0f;
        }
        __syncthreads();
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            if (k0 + half * 16 >= k) break;
#pragma unroll
            for (int s = 0; s < 2; ++s) {
                const Pack<4>&top = own[half][0], &below = own[half][1];
                const float a[4] = {top.v[2 * s], below.v[2 * s], top.v[2 * s + 1], below.v[2 * s + 1]};
                const float* const term = room + (half * 16 + within * 4 + 2 * s) * TERM_PITCH + group;
#pragma unroll
                for (int j = 0; j < COLUMNS / 8; ++j) {
                    if (n0 + j * 8 >= n) break;
                    const float b[2] = {term[j * 8], term[TERM_PITCH + j * 8]};
                    multiply_tf32(sums[j], a, b);
                }
            }
        }
    }
#pragma unroll
    for (int r = 0; r < 2; ++r) {
        if (row + r * 8 >= rows) continue;
#pragma unroll
        for (int j = 0; j < COLUMNS / 8; ++j) {
            const int column = n0 + j * 8 + within * 2;
            if (column >= n) continue;
            float2* const to = reinterpret_cast<float2*>(y + (size_t)(row + r * 8) * n + column);
            float2 value = make_float2(sums[j][2 * r], sums[j][2 * r + 1]);
            if (add) {
                const float2 old = *to;
                value.x += old.x;
                value.y += old.y;
            }
            *to = value;
        }
    }
}

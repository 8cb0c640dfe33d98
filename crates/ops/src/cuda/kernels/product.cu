// The gradient of a matrix's weight, c = aᵀ · b for a of rows × m and b of rows × n numbers with many rows and few columns,
// on the tensor cores with factors rounded to TF32 (compute capability 8.0 and later). Every block sums some rows of a tile
// of SIDE × SIDE numbers, each of its eight warps other rows; `join_parts` joins the blocks' sums.

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

// Transposition of a matrix, through a tile in shared memory so that reads and writes are both of neighbours: of filters into
// the numbers of tensors, and of their gradient back.

#define SQUARE 32

// y[c, r] = x[r, c]. A block of 32 × 8 threads takes a tile of 32 × 32; blockIdx.x picks its columns, blockIdx.y its rows.
template <class From, class To>
__device__ __forceinline__ void transposed(const From* x, To* y, int rows, int columns, float (&tile)[SQUARE][SQUARE + 1]) {
    const int left = blockIdx.x * SQUARE, top = blockIdx.y * SQUARE;
    for (int i = threadIdx.y; i < SQUARE; i += blockDim.y) {
        const int row = top + i, column = left + threadIdx.x;
        if (row < rows && column < columns) tile[i][threadIdx.x] = x[(size_t)row * columns + column];
    }
    __syncthreads();
    for (int i = threadIdx.y; i < SQUARE; i += blockDim.y) {
        const int row = top + threadIdx.x, column = left + i;
        if (row < rows && column < columns) y[(size_t)column * rows + row] = (To)tile[threadIdx.x][i];
    }
}
extern "C" __global__ void transpose(const float* x, number* y, int rows, int columns) {
    __shared__ float tile[SQUARE][SQUARE + 1];
    transposed(x, y, rows, columns, tile);
}
extern "C" __global__ void transpose_gradient(const number* x, float* y, int rows, int columns) {
    __shared__ float tile[SQUARE][SQUARE + 1];
    transposed(x, y, rows, columns, tile);
}

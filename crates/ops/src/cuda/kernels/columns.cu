// Sums over the rows of a matrix, for each column, in two stages within one launch: every block sums some rows and leaves
// its part; the last block to end joins the parts, in their order. A block has `blockDim.x` lanes of V columns, a power of
// two that divides a warp, and `blockDim.y` rows at a time, 256 threads in all; blockIdx.x picks the columns, blockIdx.y the
// rows.

#define COLUMN_THREADS 256
// Numbers that `over_rows_of_warp` needs room for, for each column of a lane and each sum: one for each lane of every warp.
#define SUM_ROOM 64
// Parts that a thread which joins them has under way: enough that one round of loads fetches those of all blocks.
#define PARTS_UNDER_WAY 9
// Rows of one matrix that a thread which sums them has under way, in as many registers in either precision.
#ifdef BF16
#define ROWS_UNDER_WAY 16
#else
#define ROWS_UNDER_WAY 8
#endif

// What a thread of such a block works on.
template <int V> struct Columns {
    int channel;       // its first column
    bool inside;       // whether there is such a column
    long long start;   // the block's first row
    long long first;   // its first row
    long long end;     // the end of the block's rows
    __device__ __forceinline__ Columns(long long rows, int channels, int rows_per_block) {
        channel = (blockIdx.x * blockDim.x + threadIdx.x) * V;
        inside = channel < channels;
        start = (long long)blockIdx.y * rows_per_block;
        first = start + threadIdx.y;
        end = start + rows_per_block < rows ? start + rows_per_block : rows;
    }
};

// Leaves the sums over each warp's rows in `room`, which has T · V · SUM_ROOM numbers, for `over_warps` to add after the
// block's next barrier.
template <int V, int T> __device__ __forceinline__ void over_rows_of_warp(Pack<V> (&sums)[T], float* room) {
    const int thread = threadIdx.y * blockDim.x + threadIdx.x, lanes = blockDim.x;
    for (int step = lanes; step < WARP; step *= 2) {
#pragma unroll
        for (int t = 0; t < T; ++t) {
#pragma unroll
            for (int i = 0; i < V; ++i) sums[t].v[i] += __shfl_xor_sync(ALL_LANES, sums[t].v[i], step);
        }
    }
    if (thread % WARP >= lanes) return;
#pragma unroll
    for (int t = 0; t < T; ++t) {
        float* const own = room + ((thread / WARP * T + t) * lanes + threadIdx.x) * V;
#pragma unroll
        for (int i = 0; i < V; ++i) own[i] = sums[t].v[i];
    }
}

// A sum over the block's rows, as `N`, always in the same order. There are T · width sums, width = blockDim.x · V: sum t of the
// block's column c is number t · width + c.
template <class N> __device__ __forceinline__ N over_warps(const float* room, int sums, int which) {
    N sum = 0;
#pragma unroll
    for (int warp = 0; warp < COLUMN_THREADS / WARP; ++warp) sum += (N)room[warp * sums + which];
    return sum;
}

// Adds this thread's share of `count` parts, of T sums each for its columns. `part` numbers lie between the parts, `sum`
// between the sums of one.
template <int V, int T>
__device__ __forceinline__ void join(Pack<V> (&sums)[T], const float* parts, int count, int part, int sum, bool inside) {
#pragma unroll
    for (int t = 0; t < T; ++t) sums[t] = splat<V>(0.0f);
    if (!inside) return;
    const int R = PARTS_UNDER_WAY;
    for (int first = threadIdx.y; first < count; first += R * blockDim.y) {
        // All loads come before their use, so that they are under way together.
        Pack<V> found[R][T];
#pragma unroll
        for (int r = 0; r < R; ++r) {
            const int p = first + r * blockDim.y;
            const float* const from = parts + (size_t)p * part;
#pragma unroll
            for (int t = 0; t < T; ++t) found[r][t] = p < count ? load_fresh<V>(from + (size_t)t * sum) : splat<V>(0.0f);
        }
#pragma unroll
        for (int r = 0; r < R; ++r) {
#pragma unroll
            for (int t = 0; t < T; ++t) plus<V>(sums[t], found[r][t]);
        }
    }
}

// sums[c] = or += Σ over the rows of x[row, c]: the gradient of a bias.
template <int V>
__device__ __forceinline__ void column_sums(const number* x, long long rows, int channels, int rows_per_block, float* parts,
                                            unsigned int* counters, float* sums, int add, float* room, unsigned int* flag) {
    const Columns<V> at(rows, channels, rows_per_block);
    Pack<V> sum[1] = {splat<V>(0.0f)};
    if (at.inside) {
        const number* const begin = x + at.start * channels + at.channel;
        const int count = (int)(at.end - at.start);
        for (int first = threadIdx.y; first < count; first += ROWS_UNDER_WAY * blockDim.y) {
            Pack<V> value[ROWS_UNDER_WAY];
#pragma unroll
            for (int r = 0; r < ROWS_UNDER_WAY; ++r) {
                const int row = first + r * blockDim.y;
                value[r] = load<V>(begin + (size_t)(row < count ? row : first) * channels);
            }
#pragma unroll
            for (int r = 0; r < ROWS_UNDER_WAY; ++r)
                if (first + r * (int)blockDim.y < count) plus<V>(sum[0], value[r]);
        }
    }
    over_rows_of_warp(sum, room);
    __syncthreads();
    // One thread a column.
    const int thread = threadIdx.y * blockDim.x + threadIdx.x, width = blockDim.x * V, c = blockIdx.x * width + thread;
    const bool has_column = thread < width && c < channels;
    if (has_column) parts[(size_t)blockIdx.y * channels + c] = over_warps<float>(room, width, thread);
    if (!last_block(counters + blockIdx.x, gridDim.y, flag)) return;
    join<V>(sum, parts + at.channel, gridDim.y, channels, 0, at.inside);
    over_rows_of_warp(sum, room);
    __syncthreads();
    if (!has_column) return;
    const float total = (float)over_warps<double>(room, width, thread);
    sums[c] = add ? sums[c] + total : total;
}
extern "C" __global__ void __launch_bounds__(256) column_sums_4(const number* x, long long rows, int channels,
                                                                int rows_per_block, float* parts, unsigned int* counters,
                                                                float* sums, int add) {
    __shared__ float room[4 * SUM_ROOM];
    __shared__ unsigned int flag;
    column_sums<4>(x, rows, channels, rows_per_block, parts, counters, sums, add, room, &flag);
}
extern "C" __global__ void __launch_bounds__(256) column_sums_1(const number* x, long long rows, int channels,
                                                                int rows_per_block, float* parts, unsigned int* counters,
                                                                float* sums, int add) {
    __shared__ float room[SUM_ROOM];
    __shared__ unsigned int flag;
    column_sums<1>(x, rows, channels, rows_per_block, parts, counters, sums, add, room, &flag);
}

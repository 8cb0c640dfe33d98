// Sums over the rows of a matrix, for each column, in two stages within one launch: every block sums some rows and leaves
// its part; the last block to end joins the parts, in their order. A block has `blockDim.x` lanes of V columns, a power of
// two that divides a warp, and `blockDim.y` rows at a time, 256 threads in all; blockIdx.x picks the columns, blockIdx.y the
// rows.

#define COLUMN_THREADS 256
// Numbers that `sum_of_rows` needs room for, for each column of a lane and each sum: one for each lane of every warp.
#define SUM_ROOM 64
// Parts that a thread which joins them has under way: enough that a few rounds of loads fetch those of all blocks.
#define PARTS_UNDER_WAY 5
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

// The sums over the block's rows, valid in the threads with threadIdx.y = 0: first within each warp, then over the warps,
// always in the same order. `N` is the type of the packs' numbers; `room` holds T · V · SUM_ROOM of them, which nobody may read
// or write until the block's next barrier.
template <class N, class P, int T> __device__ __forceinline__ void sum_of_rows(P (&sums)[T], N* room) {
    const int V = sizeof(P) / sizeof(N);
    const int thread = threadIdx.y * blockDim.x + threadIdx.x, lanes = blockDim.x;
    for (int step = lanes; step < WARP; step *= 2) {
#pragma unroll
        for (int t = 0; t < T; ++t) {
#pragma unroll
            for (int i = 0; i < V; ++i) sums[t].v[i] += __shfl_xor_sync(ALL_LANES, sums[t].v[i], step);
        }
    }
    if (thread % WARP < lanes) {
        N* const own = room + (thread / WARP * lanes + threadIdx.x) * T * V;
#pragma unroll
        for (int t = 0; t < T; ++t) {
#pragma unroll
            for (int i = 0; i < V; ++i) own[t * V + i] = sums[t].v[i];
        }
    }
    __syncthreads();
    if (threadIdx.y != 0) return;
#pragma unroll
    for (int warp = 1; warp < COLUMN_THREADS / WARP; ++warp) {
        const N* const other = room + (warp * lanes + threadIdx.x) * T * V;
#pragma unroll
        for (int t = 0; t < T; ++t) {
#pragma unroll
            for (int i = 0; i < V; ++i) sums[t].v[i] += other[t * V + i];
        }
    }
}

template <int V> __device__ __forceinline__ void plus(Wide<V>& sum, const Pack<V>& a) {
#pragma unroll
    for (int i = 0; i < V; ++i) sum.v[i] += (double)a.v[i];
}

// Σ over `count` parts, of T sums each for these columns; valid in the threads with threadIdx.y = 0. `part` numbers lie
// between the parts, `sum` between the sums of one.
template <int V, class N, class P, int T>
__device__ __forceinline__ void joined(P (&sums)[T], const float* parts, int count, int part, int sum, bool inside, N* room) {
#pragma unroll
    for (int t = 0; t < T; ++t) {
#pragma unroll
        for (int i = 0; i < V; ++i) sums[t].v[i] = 0;
    }
    if (inside) {
        const int R = T > 2 ? 1 : PARTS_UNDER_WAY;
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
    sum_of_rows(sums, room);
}

// Deals joined sums, two a column, to one thread a column: after a barrier the first sum of the block's column c is room[c],
// the second room[blockDim.x · V + c].
template <int V> __device__ __forceinline__ void deal(const Wide<V> (&sums)[2], double* room) {
    __syncthreads();
    if (threadIdx.y != 0) return;
#pragma unroll
    for (int i = 0; i < V; ++i) {
        room[threadIdx.x * V + i] = sums[0].v[i];
        room[(blockDim.x + threadIdx.x) * V + i] = sums[1].v[i];
    }
}

// sums[c] = or += Σ over the rows of x[row, c]: the gradient of a bias.
template <int V>
__device__ __forceinline__ void column_sums(const number* x, long long rows, int channels, int rows_per_block, float* parts,
                                            unsigned int* counters, float* sums, int add, float* room, double* wide,
                                            unsigned int* flag) {
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
    sum_of_rows(sum, room);
    if (at.inside && threadIdx.y == 0) store(parts + (size_t)blockIdx.y * channels + at.channel, sum[0]);
    if (!last_block(counters + blockIdx.x, gridDim.y, flag)) return;
    Wide<V> total[1];
    joined<V>(total, parts + at.channel, gridDim.y, channels, 0, at.inside, wide);
    if (at.inside && threadIdx.y == 0) {
        Pack<V> p;
#pragma unroll
        for (int i = 0; i < V; ++i) p.v[i] = (float)total[0].v[i];
        put<V>(sums + at.channel, p, add);
    }
}
extern "C" __global__ void __launch_bounds__(256) column_sums_4(const number* x, long long rows, int channels,
                                                                int rows_per_block, float* parts, unsigned int* counters,
                                                                float* sums, int add) {
    __shared__ float room[4 * SUM_ROOM];
    __shared__ double wide[4 * SUM_ROOM];
    __shared__ unsigned int flag;
    column_sums<4>(x, rows, channels, rows_per_block, parts, counters, sums, add, room, wide, &flag);
}
extern "C" __global__ void __launch_bounds__(256) column_sums_1(const number* x, long long rows, int channels,
                                                                int rows_per_block, float* parts, unsigned int* counters,
                                                                float* sums, int add) {
    __shared__ float room[SUM_ROOM];
    __shared__ double wide[SUM_ROOM];
    __shared__ unsigned int flag;
    column_sums<1>(x, rows, channels, rows_per_block, parts, counters, sums, add, room, wide, &flag);
}

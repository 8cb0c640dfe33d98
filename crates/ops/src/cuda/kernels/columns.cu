// Sums over the rows of a matrix, for each column, in two stages within one launch: every block sums some rows and leaves
// its part; the last block to end joins the parts, in their order. A block has `blockDim.x` lanes of V columns, a power of
// two, and `blockDim.y` rows at a time, 256 threads in all; blockIdx.x picks the columns, blockIdx.y the rows.

#define COLUMN_THREADS 256

// What a thread of such a block works on.
template <int V> struct Columns {
    int channel;       // its first column
    bool inside;       // whether there is such a column
    long long first;   // its first row
    long long end;     // the end of the block's rows
    __device__ __forceinline__ Columns(long long rows, int channels, int rows_per_block) {
        channel = (blockIdx.x * blockDim.x + threadIdx.x) * V;
        inside = channel < channels;
        const long long start = (long long)blockIdx.y * rows_per_block;
        first = start + threadIdx.y;
        end = start + rows_per_block < rows ? start + rows_per_block : rows;
    }
};

// The sum of `value` over the block's rows, valid in those with threadIdx.y = 0. `room` holds 256 · V numbers.
template <int V> __device__ __forceinline__ Pack<V> sum_of_rows(Pack<V> value, float* room) {
    const int thread = threadIdx.y * blockDim.x + threadIdx.x;
    store(room + thread * V, value);
    __syncthreads();
    for (int step = blockDim.y / 2; step > 0; step /= 2) {
        if (threadIdx.y < step) {
            plus<V>(value, load<V>(room + (thread + step * blockDim.x) * V));
            store(room + thread * V, value);
        }
        __syncthreads();
    }
    return value;
}

// Which column a thread joins the parts of, and which of them: every `helpers`-th from `helper` on.
template <int V> struct Join {
    int channel, helper, helpers, slot;
    __device__ __forceinline__ Join() {
        const int width = blockDim.x * V;
        slot = threadIdx.y * blockDim.x + threadIdx.x;
        helpers = COLUMN_THREADS / width;
        helper = slot / width;
        channel = blockIdx.x * width + slot % width;
    }
};

// Σ over `count` parts of one column; valid in the threads with helper 0. `stride` numbers lie between parts; `room` holds 256.
template <int V>
__device__ __forceinline__ double joined(const Join<V>& join, const float* parts, int count, int channels, int stride,
                                         double* room) {
    double sum = 0.0;
    if (join.channel < channels)
#pragma unroll 8
        for (int part = join.helper; part < count; part += join.helpers)
            sum += (double)__ldcg(parts + (size_t)part * stride + join.channel);
    const int width = blockDim.x * V;
    __syncthreads();
    room[join.slot] = sum;
    __syncthreads();
    for (int step = join.helpers / 2; step > 0; step /= 2) {
        if (join.helper < step) room[join.slot] += room[join.slot + step * width];
        __syncthreads();
    }
    return room[join.slot];
}

// sums[c] = or += Σ over the rows of x[row, c]: the gradient of a bias.
template <int V>
__device__ __forceinline__ void column_sums(const float* x, long long rows, int channels, int rows_per_block, float* parts,
                                            unsigned int* counters, float* sums, int add, float* room, double* wide,
                                            unsigned int* flag) {
    const Columns<V> at(rows, channels, rows_per_block);
    Pack<V> sum = splat<V>(0.0f);
    if (at.inside)
#pragma unroll 4
        for (long long row = at.first; row < at.end; row += blockDim.y) plus<V>(sum, load<V>(x + row * channels + at.channel));
    sum = sum_of_rows<V>(sum, room);
    if (at.inside && threadIdx.y == 0) store(parts + (size_t)blockIdx.y * channels + at.channel, sum);
    if (!last_block(counters + blockIdx.x, gridDim.y, flag)) return;
    const Join<V> join;
    const double total = joined<V>(join, parts, gridDim.y, channels, channels, wide);
    if (join.helper == 0 && join.channel < channels) {
        Pack<1> p;
        p.v[0] = (float)total;
        put<1>(sums + join.channel, p, add);
    }
}
extern "C" __global__ void __launch_bounds__(256) column_sums_4(const float* x, long long rows, int channels,
                                                                int rows_per_block, float* parts, unsigned int* counters,
                                                                float* sums, int add) {
    __shared__ __align__(16) float room[4 * COLUMN_THREADS];
    __shared__ double wide[COLUMN_THREADS];
    __shared__ unsigned int flag;
    column_sums<4>(x, rows, channels, rows_per_block, parts, counters, sums, add, room, wide, &flag);
}
extern "C" __global__ void __launch_bounds__(256) column_sums_1(const float* x, long long rows, int channels,
                                                                int rows_per_block, float* parts, unsigned int* counters,
                                                                float* sums, int add) {
    __shared__ float room[COLUMN_THREADS];
    __shared__ double wide[COLUMN_THREADS];
    __shared__ unsigned int flag;
    column_sums<1>(x, rows, channels, rows_per_block, parts, counters, sums, add, room, wide, &flag);
}

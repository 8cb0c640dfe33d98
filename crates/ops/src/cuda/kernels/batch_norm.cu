// Batch norm: the statistics of a batch, their use, and the gradients. Ioffe and Szegedy 2015, arXiv 1502.03167.

// What normalising takes of a channel: y = x · factor + offset.
struct Normaliser {
    float *mean, *inverse, *factor, *offset;
    __device__ __forceinline__ void set(int c, double m, double variance, double epsilon, const float* scale,
                                        const float* shift) const {
        const double i = 1.0 / sqrt(variance + epsilon);
        const double f = (scale ? (double)scale[c] : 1.0) * i;
        mean[c] = (float)m;
        inverse[c] = (float)i;
        factor[c] = (float)f;
        offset[c] = (float)((shift ? (double)shift[c] : 0.0) - m * f);
    }
};

// A norm's parameters, of which scale and shift may be null, and its running statistics.
struct Norm {
    const float *scale, *shift;
    float *running_mean, *running_variance;
    double momentum, epsilon;
};

// Joins the parts, [blocks of rows][mean, squared deviations from it][channels], of the block's channels from `first_channel`
// on, and fills `to`. A thread has R parts under way.
template <int V, int R = 3>
__device__ __forceinline__ void join_statistics(const float* parts, int count, int rows_per_part, long long rows,
                                                int first_channel, int channels, const Norm& norm, const Normaliser& to,
                                                float* room, double* wide) {
    const int channel = first_channel + threadIdx.x * V;
    const bool inside = channel < channels;
    // About the first part's mean: Σ n · δ and Σ (squares + n · δ²).
    Wide<V> total[2];
#pragma unroll
    for (int i = 0; i < V; ++i) total[0].v[i] = total[1].v[i] = 0.0;
    Pack<V> middle = splat<V>(0.0f);
    if (inside) {
        middle = load_fresh<V>(parts + channel);
        for (int first = threadIdx.y; first < count; first += R * blockDim.y) {
            Pack<V> mean[R], squares[R];
#pragma unroll
            for (int r = 0; r < R; ++r) {
                const int p = first + r * blockDim.y;
                const float* const found = parts + (size_t)(p < count ? p : first) * 2 * channels + channel;
                mean[r] = load_fresh<V>(found);
                squares[r] = load_fresh<V>(found + channels);
            }
#pragma unroll
            for (int r = 0; r < R; ++r) {
                const int p = first + r * blockDim.y;
                const long long left = rows - (long long)p * rows_per_part;
                const double size = p < count ? (double)(left < rows_per_part ? left : rows_per_part) : 0.0;
#pragma unroll
                for (int i = 0; i < V; ++i) {
                    const double delta = (double)mean[r].v[i] - (double)middle.v[i];
                    total[0].v[i] += size * delta;
                    total[1].v[i] += (p < count ? (double)squares[r].v[i] : 0.0) + size * delta * delta;
                }
            }
        }
    }
    sum_of_rows(total, wide);
    deal(total, wide);
    if (threadIdx.y == 0) store(room + threadIdx.x * V, middle);
    __syncthreads();
    // One thread a channel.
    const int thread = threadIdx.y * blockDim.x + threadIdx.x, width = blockDim.x * V, c = first_channel + thread;
    if (thread >= width || c >= channels) return;
    const double all = (double)rows, step = wide[thread] / all;
    const double mean = (double)room[thread] + step, squares = wide[width + thread] - wide[thread] * step;
    to.set(c, mean, squares / all, norm.epsilon, norm.scale, norm.shift);
    const double kept = 1.0 - norm.momentum;
    norm.running_mean[c] = (float)(kept * (double)norm.running_mean[c] + norm.momentum * mean);
    const double unbiased = squares / (all - 1.0);
    norm.running_variance[c] = (float)(kept * (double)norm.running_variance[c] + norm.momentum * unbiased);
}

template <int V>
__device__ __forceinline__ void batch_norm_statistics(const number* x, long long rows, int channels, int rows_per_block,
                                                      float* parts, unsigned int* counters, const Norm& norm,
                                                      const Normaliser& to, float* room, double* wide,
                                                      unsigned int* flag) {
    const Columns<V> at(rows, channels, rows_per_block);
    // Sums about the block's first row, which lies within the data, so that a large mean costs no digits.
    Pack<V> origin = splat<V>(0.0f), sums[2] = {splat<V>(0.0f), splat<V>(0.0f)};
    if (at.inside) {
        const number* const begin = x + at.start * channels + at.channel;
        const int count = (int)(at.end - at.start);
        origin = load<V>(begin);
        for (int first = threadIdx.y; first < count; first += ROWS_UNDER_WAY * blockDim.y) {
            // In place of a row beyond the end the first one is read, which adds nothing.
            Pack<V> value[ROWS_UNDER_WAY];
#pragma unroll
            for (int r = 0; r < ROWS_UNDER_WAY; ++r) {
                const int row = first + r * blockDim.y;
                value[r] = load<V>(begin + (size_t)(row < count ? row : 0) * channels);
            }
#pragma unroll
            for (int r = 0; r < ROWS_UNDER_WAY; ++r) {
#pragma unroll
                for (int i = 0; i < V; ++i) {
                    const float delta = value[r].v[i] - origin.v[i];
                    sums[0].v[i] += delta;
                    sums[1].v[i] = fmaf(delta, delta, sums[1].v[i]);
                }
            }
        }
    }
    sum_of_rows(sums, room);
    float* const part = parts + (size_t)blockIdx.y * 2 * channels + at.channel;
    if (at.inside && threadIdx.y == 0) {
        const float count = (float)(at.end - at.start);
        Pack<V> mean, squares;
#pragma unroll
        for (int i = 0; i < V; ++i) {
            const float shift_by = sums[0].v[i] / count;
            mean.v[i] = origin.v[i] + shift_by;
            squares.v[i] = fmaf(-sums[0].v[i], shift_by, sums[1].v[i]);
        }
        store(part, mean);
        store(part + channels, squares);
    }
    if (!last_block(counters + blockIdx.x, gridDim.y, flag)) return;
    join_statistics<V, PARTS_UNDER_WAY>(parts, gridDim.y, rows_per_block, rows, (int)(blockIdx.x * blockDim.x) * V, channels,
                                        norm, to, room, wide);
}
extern "C" __global__ void __launch_bounds__(256, 2)
    batch_norm_statistics_4(const number* x, long long rows, int channels, int rows_per_block, float* parts,
                            unsigned int* counters, const float* scale, const float* shift, float* running_mean,
                            float* running_variance, double momentum, double epsilon, float* mean, float* inverse,
                            float* factor, float* offset) {
    __shared__ __align__(16) float room[2 * 4 * SUM_ROOM];
    __shared__ double wide[2 * 4 * SUM_ROOM];
    __shared__ unsigned int flag;
    const Normaliser to = {mean, inverse, factor, offset};
    const Norm norm = {scale, shift, running_mean, running_variance, momentum, epsilon};
    batch_norm_statistics<4>(x, rows, channels, rows_per_block, parts, counters, norm, to, room, wide, &flag);
}
extern "C" __global__ void __launch_bounds__(256, 2)
    batch_norm_statistics_1(const number* x, long long rows, int channels, int rows_per_block, float* parts,
                            unsigned int* counters, const float* scale, const float* shift, float* running_mean,
                            float* running_variance, double momentum, double epsilon, float* mean, float* inverse,
                            float* factor, float* offset) {
    __shared__ float room[2 * SUM_ROOM];
    __shared__ double wide[2 * SUM_ROOM];
    __shared__ unsigned int flag;
    const Normaliser to = {mean, inverse, factor, offset};
    const Norm norm = {scale, shift, running_mean, running_variance, momentum, epsilon};
    batch_norm_statistics<1>(x, rows, channels, rows_per_block, parts, counters, norm, to, room, wide, &flag);
}

// The factors of evaluation, from the running statistics. One thread a channel.
extern "C" __global__ void batch_norm_evaluation(const float* running_mean, const float* running_variance,
                                                 const float* scale, const float* shift, int channels, double epsilon,
                                                 float* mean, float* inverse, float* factor, float* offset) {
    const Normaliser to = {mean, inverse, factor, offset};
    for (unsigned int c = thread_index(); c < channels; c += thread_count())
        to.set((int)c, (double)running_mean[c], (double)running_variance[c], epsilon, scale, shift);
}

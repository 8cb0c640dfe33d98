// Batch norm: the statistics of a batch, their use, and the gradients. Ioffe and Szegedy 2015, arXiv 1502.03167.

// What normalising takes of a channel: y = x · factor + offset.
struct Normaliser {
    float *mean, *inverse, *factor, *offset;
    __device__ __forceinline__ void set(int c, double m, double variance, double epsilon, double scale, double shift) const {
        const double i = rsqrt(variance + epsilon);
        const double f = scale * i;
        mean[c] = (float)m;
        inverse[c] = (float)i;
        factor[c] = (float)f;
        offset[c] = (float)(shift - m * f);
    }
};

// A norm's parameters, of which scale and shift may be null, and its running statistics.
struct Norm {
    const float *scale, *shift;
    float *running_mean, *running_variance;
    double momentum, epsilon;
};

// What a channel of a norm had before, read before it is asked for, and all at once: no store may come between.
struct Had {
    float scale, shift, mean, variance;
    __device__ __forceinline__ Had(const Norm& norm, int c, bool there) {
        scale = there && norm.scale ? norm.scale[c] : 1.0f;
        shift = there && norm.shift ? norm.shift[c] : 0.0f;
        mean = there ? norm.running_mean[c] : 0.0f;
        variance = there ? norm.running_variance[c] : 0.0f;
    }
};

// Joins the parts, [blocks of rows][mean, squared deviations from it][channels], of the block's channels from `first_channel`
// on, and fills `to`. One thread a channel ends it, with what the channel `had`. A thread has R parts under way.
template <int V, int R = 5>
__device__ __forceinline__ void join_statistics(const float* parts, int count, int rows_per_part, long long rows,
                                                int first_channel, int channels, const Had& had, const Norm& norm,
                                                const Normaliser& to, float* room) {
    const int channel = first_channel + threadIdx.x * V;
    const int thread = threadIdx.y * blockDim.x + threadIdx.x, width = blockDim.x * V, c = first_channel + thread;
    const bool has_channel = thread < width && c < channels;
    const float about = has_channel ? load_fresh<1>(parts + c).v[0] : 0.0f;
    // About the first part's mean: Σ n · δ and Σ (squares + n · δ²).
    Pack<V> total[2] = {splat<V>(0.0f), splat<V>(0.0f)};
    if (channel < channels) {
        const Pack<V> middle = load_fresh<V>(parts + channel);
        const float rows_of_last = (float)(rows - (long long)(count - 1) * rows_per_part);
        for (int first = threadIdx.y; first < count; first += R * blockDim.y) {
            Pack<V> mean[R], squares[R];
#pragma unroll
            for (int r = 0; r < R; ++r) {
                const int p = first + r * blockDim.y;
                const float* const found = parts + (size_t)p * 2 * channels + channel;
                mean[r] = p < count ? load_fresh<V>(found) : splat<V>(0.0f);
                squares[r] = p < count ? load_fresh<V>(found + channels) : splat<V>(0.0f);
            }
#pragma unroll
            for (int r = 0; r < R; ++r) {
                const int p = first + r * blockDim.y;
                const float size = p < count - 1 ? (float)rows_per_part : p < count ? rows_of_last : 0.0f;
#pragma unroll
                for (int i = 0; i < V; ++i) {
                    const float delta = mean[r].v[i] - middle.v[i], sum = size * delta;
                    total[0].v[i] += sum;
                    total[1].v[i] += fmaf(sum, delta, squares[r].v[i]);
                }
            }
        }
    }
    over_rows_of_warp(total, room);
    const double all = (double)rows, each = 1.0 / all, each_unbiased = 1.0 / (all - 1.0);
    __syncthreads();
    if (!has_channel) return;
    const double sum = over_warps<double>(room, 2 * width, thread), step = sum * each;
    const double squares = over_warps<double>(room, 2 * width, width + thread) - sum * step, mean = (double)about + step;
    to.set(c, mean, squares * each, norm.epsilon, had.scale, had.shift);
    const double kept = 1.0 - norm.momentum;
    norm.running_mean[c] = (float)(kept * (double)had.mean + norm.momentum * mean);
    norm.running_variance[c] = (float)(kept * (double)had.variance + norm.momentum * (squares * each_unbiased));
}

template <int V>
__device__ __forceinline__ void batch_norm_statistics(const number* x, long long rows, int channels, int rows_per_block,
                                                      float* parts, unsigned int* counters, const Norm& norm,
                                                      const Normaliser& to, float* room, unsigned int* flag) {
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
    over_rows_of_warp(sums, room);
    // One thread a channel.
    const int thread = threadIdx.y * blockDim.x + threadIdx.x, width = blockDim.x * V, c = blockIdx.x * width + thread;
    const bool has_channel = thread < width && c < channels;
    const float about = has_channel ? (float)x[at.start * channels + c] : 0.0f;
    const Had had(norm, c, has_channel);
    __syncthreads();
    if (has_channel) {
        const float sum = over_warps<float>(room, 2 * width, thread), shift_by = sum / (float)(at.end - at.start);
        float* const part = parts + (size_t)blockIdx.y * 2 * channels + c;
        part[0] = about + shift_by;
        part[channels] = fmaf(-sum, shift_by, over_warps<float>(room, 2 * width, width + thread));
    }
    if (!last_block(counters + blockIdx.x, gridDim.y, flag)) return;
    join_statistics<V, PARTS_UNDER_WAY>(parts, gridDim.y, rows_per_block, rows, (int)blockIdx.x * width, channels, had, norm,
                                        to, room);
}
extern "C" __global__ void __launch_bounds__(256, 2)
    batch_norm_statistics_4(const number* x, long long rows, int channels, int rows_per_block, float* parts,
                            unsigned int* counters, const float* scale, const float* shift, float* running_mean,
                            float* running_variance, double momentum, double epsilon, float* mean, float* inverse,
                            float* factor, float* offset) {
    __shared__ __align__(16) float room[2 * 4 * SUM_ROOM];
    __shared__ unsigned int flag;
    const Normaliser to = {mean, inverse, factor, offset};
    const Norm norm = {scale, shift, running_mean, running_variance, momentum, epsilon};
    batch_norm_statistics<4>(x, rows, channels, rows_per_block, parts, counters, norm, to, room, &flag);
}
extern "C" __global__ void __launch_bounds__(256, 2)
    batch_norm_statistics_1(const number* x, long long rows, int channels, int rows_per_block, float* parts,
                            unsigned int* counters, const float* scale, const float* shift, float* running_mean,
                            float* running_variance, double momentum, double epsilon, float* mean, float* inverse,
                            float* factor, float* offset) {
    __shared__ float room[2 * SUM_ROOM];
    __shared__ unsigned int flag;
    const Normaliser to = {mean, inverse, factor, offset};
    const Norm norm = {scale, shift, running_mean, running_variance, momentum, epsilon};
    batch_norm_statistics<1>(x, rows, channels, rows_per_block, parts, counters, norm, to, room, &flag);
}

// The factors of evaluation, from the running statistics. One thread a channel.
extern "C" __global__ void batch_norm_evaluation(const float* running_mean, const float* running_variance,
                                                 const float* scale, const float* shift, int channels, double epsilon,
                                                 float* mean, float* inverse, float* factor, float* offset) {
    const Normaliser to = {mean, inverse, factor, offset};
    for (unsigned int c = thread_index(); c < channels; c += thread_count())
        to.set((int)c, (double)running_mean[c], (double)running_variance[c], epsilon, scale ? scale[c] : 1.0f,
               shift ? shift[c] : 0.0f);
}

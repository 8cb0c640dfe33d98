// Batch norm: the statistics of a batch, their use, and the gradients. Ioffe and Szegedy 2015, arXiv 1502.03167.

// Numbers, their mean and the sum of squared deviations from it; joined as in Chan, Golub and LeVeque 1979.
template <class T> struct Moments {
    T count, mean, squares;
    __device__ __forceinline__ void join(const Moments& other) {
        const T total = count + other.count;
        if (total == 0) return;
        const T delta = other.mean - mean, share = other.count / total;
        mean += delta * share;
        squares += other.squares + delta * delta * count * share;
        count = total;
    }
};

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

// parts: [blocks of rows][mean, squares][channels]
template <int V>
__device__ __forceinline__ void batch_norm_statistics(const float* x, long long rows, int channels, int rows_per_block,
                                                      float* parts, unsigned int* counters, const float* scale,
                                                      const float* shift, float* running_mean, float* running_variance,
                                                      double momentum, double epsilon, Normaliser to, float* room,
                                                      double* wide, unsigned int* flag) {
    const Columns<V> at(rows, channels, rows_per_block);
    const int thread = threadIdx.y * blockDim.x + threadIdx.x;
    // Sums about the thread's first value, which lies within the data, so that a large mean costs no digits.
    Pack<V> origin = splat<V>(0.0f), sum = splat<V>(0.0f), squares = splat<V>(0.0f);
    float count = 0.0f;
    if (at.inside && at.first < at.end) {
        origin = load<V>(x + at.first * channels + at.channel);
#pragma unroll 4
        for (long long row = at.first; row < at.end; row += blockDim.y) {
            const Pack<V> value = load<V>(x + row * channels + at.channel);
#pragma unroll
            for (int i = 0; i < V; ++i) {
                const float delta = value.v[i] - origin.v[i];
                sum.v[i] += delta;
                squares.v[i] = fmaf(delta, delta, squares.v[i]);
            }
            count += 1.0f;
        }
    }
    Moments<float> own[V];
    float* const means = room;
    float* const all_squares = room + COLUMN_THREADS * V;
    float* const counts = room + 2 * COLUMN_THREADS * V;
#pragma unroll
    for (int i = 0; i < V; ++i) {
        const float shift_by = count > 0.0f ? sum.v[i] / count : 0.0f;
        own[i].count = count;
        own[i].mean = origin.v[i] + shift_by;
        own[i].squares = fmaf(-sum.v[i], shift_by, squares.v[i]);
        means[thread * V + i] = own[i].mean;
        all_squares[thread * V + i] = own[i].squares;
    }
    counts[thread] = count;
    __syncthreads();
    for (int step = blockDim.y / 2; step > 0; step /= 2) {
        if (threadIdx.y < step) {
            const int other = thread + step * blockDim.x;
#pragma unroll
            for (int i = 0; i < V; ++i) {
                const Moments<float> theirs = {counts[other], means[other * V + i], all_squares[other * V + i]};
                own[i].join(theirs);
                means[thread * V + i] = own[i].mean;
                all_squares[thread * V + i] = own[i].squares;
            }
            counts[thread] = own[0].count;
        }
        __syncthreads();
    }
    float* const part = parts + (size_t)blockIdx.y * 2 * channels;
    if (at.inside && threadIdx.y == 0) {
#pragma unroll
        for (int i = 0; i < V; ++i) {
            part[at.channel + i] = own[i].mean;
            part[channels + at.channel + i] = own[i].squares;
        }
    }
    if (!last_block(counters + blockIdx.x, gridDim.y, flag)) return;

    const Join<V> join;
    const int width = blockDim.x * V, c = join.channel;
    Moments<double> total = {0.0, 0.0, 0.0};
    if (c < channels) {
#pragma unroll 4
        for (int p = join.helper; p < gridDim.y; p += join.helpers) {
            const float* found = parts + (size_t)p * 2 * channels + c;
            const long long left = rows - (long long)p * rows_per_block;
            const double size = (double)(left < rows_per_block ? left : rows_per_block);
            total.join({size, (double)__ldcg(found), (double)__ldcg(found + channels)});
        }
    }
    double* const own_place = wide + join.slot * 3;
    own_place[0] = total.count;
    own_place[1] = total.mean;
    own_place[2] = total.squares;
    __syncthreads();
    for (int step = join.helpers / 2; step > 0; step /= 2) {
        if (join.helper < step) {
            const double* theirs = own_place + step * width * 3;
            total.join({theirs[0], theirs[1], theirs[2]});
            own_place[0] = total.count;
            own_place[1] = total.mean;
            own_place[2] = total.squares;
        }
        __syncthreads();
    }
    if (join.helper != 0 || c >= channels) return;
    to.set(c, total.mean, total.squares / (double)rows, epsilon, scale, shift);
    running_mean[c] = (float)((1.0 - momentum) * (double)running_mean[c] + momentum * total.mean);
    const double unbiased = total.squares / (double)(rows - 1);
    running_variance[c] = (float)((1.0 - momentum) * (double)running_variance[c] + momentum * unbiased);
}
extern "C" __global__ void __launch_bounds__(256)
    batch_norm_statistics_4(const float* x, long long rows, int channels, int rows_per_block, float* parts,
                            unsigned int* counters, const float* scale, const float* shift, float* running_mean,
                            float* running_variance, double momentum, double epsilon, float* mean, float* inverse,
                            float* factor, float* offset) {
    __shared__ float room[9 * COLUMN_THREADS];
    __shared__ double wide[3 * COLUMN_THREADS];
    __shared__ unsigned int flag;
    const Normaliser to = {mean, inverse, factor, offset};
    batch_norm_statistics<4>(x, rows, channels, rows_per_block, parts, counters, scale, shift, running_mean,
                             running_variance, momentum, epsilon, to, room, wide, &flag);
}
extern "C" __global__ void __launch_bounds__(256)
    batch_norm_statistics_1(const float* x, long long rows, int channels, int rows_per_block, float* parts,
                            unsigned int* counters, const float* scale, const float* shift, float* running_mean,
                            float* running_variance, double momentum, double epsilon, float* mean, float* inverse,
                            float* factor, float* offset) {
    __shared__ float room[3 * COLUMN_THREADS];
    __shared__ double wide[3 * COLUMN_THREADS];
    __shared__ unsigned int flag;
    const Normaliser to = {mean, inverse, factor, offset};
    batch_norm_statistics<1>(x, rows, channels, rows_per_block, parts, counters, scale, shift, running_mean,
                             running_variance, momentum, epsilon, to, room, wide, &flag);
}

// The factors of evaluation, from the running statistics. One thread a channel.
extern "C" __global__ void batch_norm_evaluation(const float* running_mean, const float* running_variance,
                                                 const float* scale, const float* shift, int channels, double epsilon,
                                                 float* mean, float* inverse, float* factor, float* offset) {
    const Normaliser to = {mean, inverse, factor, offset};
    for (unsigned int c = thread_index(); c < channels; c += thread_count())
        to.set((int)c, (double)running_mean[c], (double)running_variance[c], epsilon, scale, shift);
}

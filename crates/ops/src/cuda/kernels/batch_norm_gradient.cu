// The gradients of batch norm. With g the output's gradient where the ReLU let it through and x' = x − mean: first Σ g and
// Σ g · x' for each channel, then dx = g · factor + x' · slope + constant. From a row of dy to the next are `stride` numbers.

// An image's share of the gradient that came: one for each image of so many rows, or one for all.
struct Share {
    const float* each;
    float all;
    int rows;
    __device__ __forceinline__ float of(unsigned int row) const { return each ? each[row / rows] : all; }
    // Nothing is left of what has no share, whatever it is.
    template <int V> static __device__ __forceinline__ Pack<V> times(float share, Pack<V> g) {
#pragma unroll
        for (int i = 0; i < V; ++i) g.v[i] = share == 0.0f ? 0.0f : g.v[i] * share;
        return g;
    }
    template <int V> __device__ __forceinline__ Pack<V> of(Pack<V> g, unsigned int row) const {
        return times<V>(of(row), g);
    }
};

// The ReLU's mask, had again from what the forward pass computed.
template <int V>
__device__ __forceinline__ Pack<V> let_through(const Pack<V>& x, Pack<V> dy, const Pack<V>& factor, const Pack<V>& offset,
                                               int with_relu) {
    if (with_relu) {
#pragma unroll
        for (int i = 0; i < V; ++i)
            if (!(fmaf(x.v[i], factor.v[i], offset.v[i]) > 0.0f)) dy.v[i] = 0.0f;
    }
    return dy;
}

// What becomes of the sums of a channel; dscale and dshift may be null, and are added to.
struct Sums {
    const float *inverse, *factor;
    float *slope, *constant, *dscale, *dshift;
};

// Ends sums over rows, of which blockIdx.y is the part: parts: [blocks of rows][Σ g, Σ g · x'][channels].
template <int V>
__device__ __forceinline__ void end_sums(Pack<V> (&sums)[2], int channel, bool inside, long long rows, int channels,
                                         float* parts, unsigned int* counters, int training, const Sums& to, float* room,
                                         unsigned int* flag) {
    over_rows_of_warp(sums, room);
    __syncthreads();
    // One thread a channel; what it reads at the end is on its way already.
    const int thread = threadIdx.y * blockDim.x + threadIdx.x, width = blockDim.x * V, c = blockIdx.x * width + thread;
    const bool has_channel = thread < width && c < channels;
    const double i = has_channel ? to.inverse[c] : 0.0, f = has_channel ? to.factor[c] : 0.0;
    const float old_scale = has_channel && to.dscale ? to.dscale[c] : 0.0f;
    const float old_shift = has_channel && to.dshift ? to.dshift[c] : 0.0f;
    if (has_channel) {
        float* const part = parts + (size_t)blockIdx.y * 2 * channels + c;
        part[0] = over_warps<float>(room, 2 * width, thread);
        part[channels] = over_warps<float>(room, 2 * width, width + thread);
    }
    if (!last_block(counters + blockIdx.x, gridDim.y, flag)) return;
    join<V>(sums, parts + channel, gridDim.y, 2 * channels, channels, inside);
    over_rows_of_warp(sums, room);
    const double each = training ? 1.0 / (double)rows : 0.0;
    __syncthreads();
    if (!has_channel) return;
    const double sum = over_warps<double>(room, 2 * width, thread);
    const double product = over_warps<double>(room, 2 * width, width + thread);
    to.slope[c] = (float)(-f * i * i * product * each);
    to.constant[c] = (float)(-f * sum * each);
    if (to.dscale) to.dscale[c] = old_scale + (float)(product * i);
    if (to.dshift) to.dshift[c] = old_shift + (float)sum;
}

template <int V>
__device__ __forceinline__ void batch_norm_sums(const number* x, const number* dy, const Share& share,
                                                const float* mean, const float* offset, int with_relu, long long rows,
                                                int channels, int stride, int rows_per_block, float* parts, unsigned int* counters,
                                                int training, const Sums& to, float* room, unsigned int* flag) {
    const Columns<V> at(rows, channels, rows_per_block);
    Pack<V> sums[2] = {splat<V>(0.0f), splat<V>(0.0f)};
    if (at.inside) {
        const Pack<V> f = load<V>(to.factor + at.channel), o = load<V>(offset + at.channel);
        const Pack<V> m = load<V>(mean + at.channel);
        const number* const values = x + at.start * channels + at.channel;
        const number* const gradients = dy + at.start * stride + at.channel;
        const int count = (int)(at.end - at.start), R = ROWS_UNDER_WAY / 2;
        for (int first = threadIdx.y; first < count; first += R * blockDim.y) {
            // In place of a row beyond the end the first one is read; it has no share.
            Pack<V> value[R], came[R];
            float part[R];
#pragma unroll
            for (int r = 0; r < R; ++r) {
                const int row = first + r * blockDim.y, there = row < count ? row : first;
                value[r] = load<V>(values + (size_t)there * channels);
                came[r] = load<V>(gradients + (size_t)there * stride);
            }
#pragma unroll
            for (int r = 0; r < R; ++r) {
                const int row = first + r * blockDim.y, there = row < count ? row : first;
                part[r] = share.of((unsigned int)at.start + there);
                if (row >= count) part[r] = 0.0f;
            }
#pragma unroll
            for (int r = 0; r < R; ++r) {
                const Pack<V> g = let_through<V>(value[r], Share::times<V>(part[r], came[r]), f, o, with_relu);
#pragma unroll
                for (int i = 0; i < V; ++i) {
                    sums[0].v[i] += g.v[i];
                    sums[1].v[i] = fmaf(g.v[i], value[r].v[i] - m.v[i], sums[1].v[i]);
                }
            }
        }
    }
    end_sums<V>(sums, at.channel, at.inside, rows, channels, parts, counters, training, to, room, flag);
}
extern "C" __global__ void __launch_bounds__(256, 2)
    batch_norm_sums_4(const number* x, const number* dy, const float* shares, float share, int image_rows,
                      const float* mean, const float* inverse, const float* factor, const float* offset,
                      int with_relu, long long rows, int channels, int stride, int rows_per_block, float* parts,
                      unsigned int* counters, int training, float* slope, float* constant, float* dscale,
                      float* dshift) {
    __shared__ float room[2 * 4 * SUM_ROOM];
    __shared__ unsigned int flag;
    const Sums to = {inverse, factor, slope, constant, dscale, dshift};
    batch_norm_sums<4>(x, dy, {shares, share, image_rows}, mean, offset, with_relu, rows, channels, stride, rows_per_block, parts,
                       counters, training, to, room, &flag);
}
extern "C" __global__ void __launch_bounds__(256, 2)
    batch_norm_sums_1(const number* x, const number* dy, const float* shares, float share, int image_rows,
                      const float* mean, const float* inverse, const float* factor, const float* offset,
                      int with_relu, long long rows, int channels, int stride, int rows_per_block, float* parts,
                      unsigned int* counters, int training, float* slope, float* constant, float* dscale,
                      float* dshift) {
    __shared__ float room[2 * SUM_ROOM];
    __shared__ unsigned int flag;
    const Sums to = {inverse, factor, slope, constant, dscale, dshift};
    batch_norm_sums<1>(x, dy, {shares, share, image_rows}, mean, offset, with_relu, rows, channels, stride, rows_per_block, parts,
                       counters, training, to, room, &flag);
}

template <int V>
__device__ __forceinline__ void batch_norm_input(const number* x, const number* dy, const Share& share,
                                                 const float* mean, const float* factor, const float* offset,
                                                 const float* slope, const float* constant, int with_relu, number* dx,
                                                 int rows, int channels, int stride, int add) {
    const int quads = channels / V;
    for (unsigned int i = thread_index(); i < (unsigned int)rows * quads; i += thread_count()) {
        const int c = (int)(i % quads) * V;
        const Pack<V> value = load<V>(x + (size_t)i * V), f = load<V>(factor + c), m = load<V>(mean + c);
        const Pack<V> came = share.of(load<V>(dy + (size_t)(i / quads) * stride + c), i / quads);
        Pack<V> g = let_through<V>(value, came, f, load<V>(offset + c), with_relu);
        const Pack<V> s = load<V>(slope + c), k = load<V>(constant + c);
#pragma unroll
        for (int j = 0; j < V; ++j) g.v[j] = fmaf(g.v[j], f.v[j], fmaf(value.v[j] - m.v[j], s.v[j], k.v[j]));
        put<V>(dx + (size_t)i * V, g, add);
    }
}
extern "C" __global__ void batch_norm_input_4(const number* x, const number* dy, const float* shares, float share,
                                              int image_rows, const float* mean, const float* factor,
                                              const float* offset, const float* slope, const float* constant,
                                              int with_relu, number* dx, int rows, int channels, int stride, int add) {
    const Share own = {shares, share, image_rows};
    if (in_eights(channels, stride, dy))
        return batch_norm_input<8>(x, dy, own, mean, factor, offset, slope, constant, with_relu, dx, rows, channels, stride, add);
    batch_norm_input<4>(x, dy, own, mean, factor, offset, slope, constant, with_relu, dx, rows, channels, stride, add);
}
extern "C" __global__ void batch_norm_input_1(const number* x, const number* dy, const float* shares, float share,
                                              int image_rows, const float* mean, const float* factor,
                                              const float* offset, const float* slope, const float* constant,
                                              int with_relu, number* dx, int rows, int channels, int stride, int add) {
    batch_norm_input<1>(x, dy, {shares, share, image_rows}, mean, factor, offset, slope, constant, with_relu, dx, rows,
                        channels, stride, add);
}

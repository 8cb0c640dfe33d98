// Both gradients of a depthwise convolution at stride 1, by one read of what they need. With r = i + top − a·d and
// q = j + left − b·d: dx[n, i, j, c] = Σ dy[n, r, q, c] · w[a, b, c], and dw[a, b, c] = Σ x[n, i, j, c] · dy[n, r, q, c] of what
// the prologue makes of x. So each number of dy that a thread has goes into both.

// Channels of a block at most, and the numbers of a tap that its warps leave.
#define TAP_CHANNELS 16
#define TAP_ROOM (COLUMN_THREADS / WARP * TAP_CHANNELS)

// Sums over the block's threads for each tap and channel. parts: [blocks][taps][channels], which join_parts joins.
template <int V, int TAPS>
__device__ __forceinline__ void end_taps(Pack<V> (&taps)[TAPS], int channels, float* parts, float* room) {
    const int thread = threadIdx.y * blockDim.x + threadIdx.x, lanes = blockDim.x, width = lanes * V;
    for (int step = lanes; step < WARP; step *= 2) {
#pragma unroll
        for (int t = 0; t < TAPS; ++t) {
#pragma unroll
            for (int v = 0; v < V; ++v) taps[t].v[v] += __shfl_xor_sync(ALL_LANES, taps[t].v[v], step);
        }
    }
    if (thread % WARP < lanes) {
#pragma unroll
        for (int t = 0; t < TAPS; ++t) store(room + ((thread / WARP * TAPS + t) * lanes + threadIdx.x) * V, taps[t]);
    }
    __syncthreads();
    float* const part = parts + (size_t)blockIdx.y * TAPS * channels;
    for (int place = thread; place < TAPS * width; place += COLUMN_THREADS) {
        const int c = blockIdx.x * width + place % width;
        float sum = 0.0f;
#pragma unroll
        for (int warp = 0; warp < COLUMN_THREADS / WARP; ++warp) sum += room[warp * TAPS * width + place];
        if (c < channels) part[place / width * channels + c] = sum;
    }
}

// P pixels next to each other, of V channels, at a time; threads take such strips as those of columns.cu take rows. dx may be
// null. With a slope the sums of the gradient of the norm that made x are taken too (see batch_norm_gradient.cu), whose parts
// lie behind those of the taps.
template <int K, int D, int V, int P>
__device__ __forceinline__ void depthwise_gradient(const number* __restrict__ dy, const float* __restrict__ w,
                                                   const number* __restrict__ x, const float* mean, const float* offset,
                                                   int with_relu, number* dx, int add, int strips_per_block, float* parts,
                                                   unsigned int* counters, const Sums& to, const Window& g, float* room,
                                                   double* wide, unsigned int* flag) {
    const int strips = (g.width + P - 1) / P, lanes = blockDim.x;
    const Columns<V> columns((long long)g.images * g.height * strips, g.channels, strips_per_block);
    const int c = columns.channel;
    Pack<V> taps[K * K], totals[2] = {splat<V>(0.0f), splat<V>(0.0f)};
#pragma unroll
    for (int t = 0; t < K * K; ++t) taps[t] = splat<V>(0.0f);
    // The weights, and factor, offset and mean of the norm; in registers they would take the room of sums.
    for (int t = threadIdx.y; t < K * K + 3; t += blockDim.y) {
        const float* const other = t == K * K ? to.factor : t > K * K + 1 ? mean : to.factor ? offset : nullptr;
        const float* const of = t < K * K ? w + t * g.channels : other;
        const Pack<V> none = splat<V>(t == K * K ? 1.0f : 0.0f);
        if (columns.inside) store(room + (t * lanes + threadIdx.x) * V, of ? load<V>(of + c) : none);
    }
    const auto kept = [&](int t) { return load_again<V>(room + (t * lanes + threadIdx.x) * V); };
    __syncthreads();
    if (columns.inside) {
        // Without branches, so that all loads can be under way together.
        const bool summing = to.slope != nullptr, rectifies = with_relu != 0;
        for (long long strip = columns.first; strip < columns.end; strip += blockDim.y) {
            const Strip<V, P> at((unsigned int)strip, V, g.width, g.height);
            const int left = g.width - at.j, first = at.j + g.left - (K - 1) * D;
            const size_t place = (((size_t)at.n * g.height + at.i) * g.width + at.j) * g.channels + c;
            const number* const from = x + place;
            const number* const incoming = dy + ((long long)at.n * g.out_height * g.out_width + first) * g.channels + c;
            Pack<V> value[P], sums[P];
#pragma unroll
            for (int p = 0; p < P; ++p) {
                value[p] = sums[p] = splat<V>(0.0f);
                if (p < left) value[p] = load<V>(from + p * g.channels);
            }
            const Pack<V> factor = kept(K * K), shift = kept(K * K + 1);
#pragma unroll
            for (int p = 0; p < P; ++p) {
#pragma unroll
                for (int v = 0; v < V; ++v) {
                    const float read = fmaf(value[p].v[v], factor.v[v], shift.v[v]);
                    value[p].v[v] = (p < left) & !(rectifies & (read < 0.0f)) ? read : 0.0f;
                }
            }
#pragma unroll
            for (int a = 0; a < K; ++a) {
                const int row = at.i + g.top - a * D;
                if ((unsigned int)row >= (unsigned int)g.out_height) continue;
                const number* line = incoming + row * (g.out_width * g.channels);
                Pack<V> window[P + (K - 1) * D];
#pragma unroll
                for (int i = 0; i < P + (K - 1) * D; ++i) {
                    window[i] = splat<V>(0.0f);
                    if ((unsigned int)(first + i) < (unsigned int)g.out_width) window[i] = load<V>(line);
                    line += g.channels;
                }
#pragma unroll
                for (int b = 0; b < K; ++b) {
                    const Pack<V> weight = kept(a * K + b);
#pragma unroll
                    for (int p = 0; p < P; ++p) {
                        fma<V>(sums[p], window[p + (K - 1 - b) * D], weight);
                        fma<V>(taps[a * K + b], window[p + (K - 1 - b) * D], value[p]);
                    }
                }
            }
            if (!dx) continue;
            const Pack<V> m = kept(K * K + 2);
#pragma unroll
            for (int p = 0; p < P; ++p) {
                if (p >= left) break;
                const Pack<V> before = summing ? load<V>(from + p * g.channels) : m;
#pragma unroll
                for (int v = 0; v < V; ++v) {
                    // A ReLU's output is positive where its input is.
                    if (rectifies && !(value[p].v[v] > 0.0f)) sums[p].v[v] = 0.0f;
                    totals[0].v[v] += sums[p].v[v];
                    totals[1].v[v] = fmaf(sums[p].v[v], before.v[v] - m.v[v], totals[1].v[v]);
                }
                put<V>(dx + place + p * g.channels, sums[p], add);
            }
        }
    }
    __syncthreads();
    end_taps(taps, g.channels, parts, room);
    if (!to.slope) return;
    __syncthreads();
    const long long rows = (long long)g.images * g.height * g.width;
    float* const own = parts + (size_t)gridDim.y * K * K * g.channels;
    end_sums<V>(totals, c, columns.inside, rows, g.channels, own, counters, 1, to, room, wide, flag);
}

#define DEPTHWISE_GRADIENT(NAME, K, D, V, P, BLOCKS)                                                                     \
    extern "C" __global__ void __launch_bounds__(COLUMN_THREADS, BLOCKS)                                                 \
        NAME(const number* __restrict__ dy, const float* __restrict__ w, const number* __restrict__ x, const float* mean, \
             const float* inverse, const float* factor, const float* offset, int with_relu, number* dx, int add,         \
             int strips_per_block, float* parts, unsigned int* counters, float* slope, float* constant, float* dscale,   \
             float* dshift, Window g) {                                                                                  \
        __shared__ __align__(16) float room[K * K * TAP_ROOM];                                                           \
        __shared__ double wide[2 * TAP_ROOM];                                                                            \
        __shared__ unsigned int flag;                                                                                    \
        const Sums to = {inverse, factor, slope, constant, dscale, dshift};                                              \
        depthwise_gradient<K, D, V, P>(dy, w, x, mean, offset, with_relu, dx, add, strips_per_block, parts, counters,    \
                                       to, g, room, wide, &flag);                                                        \
    }
DEPTHWISE_GRADIENT(depthwise_gradient_k3, 3, 1, 2, 4, 2)
DEPTHWISE_GRADIENT(depthwise_gradient_k7, 7, 1, 1, 8, 1)
DEPTHWISE_GRADIENT(depthwise_gradient_k3_dilated, 3, 2, 2, 4, 2)
DEPTHWISE_GRADIENT(depthwise_gradient_k5_dilated, 5, 2, 1, 8, 2)
// With the registers of a second block it spills on compute capability 12.0.
#if __CUDA_ARCH__ >= 1200
DEPTHWISE_GRADIENT(depthwise_gradient_k5, 5, 1, 2, 4, 1)
#else
DEPTHWISE_GRADIENT(depthwise_gradient_k5, 5, 1, 2, 4, 2)
#endif

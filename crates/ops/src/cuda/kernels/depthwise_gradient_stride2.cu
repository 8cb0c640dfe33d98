// Both gradients of a depthwise convolution at stride 2, by one read of what they need; see depthwise_gradient.cu. Which taps
// reach a pixel of the input, its place says: with i + top = 2u + e, where e is 0 or 1, those with a = e + 2α reach row i, from
// row u − α of dy, and with columns it is the same. So the 2 × 2 pixels of a square share a window of dy.

// P squares next to each other, of V channels, at a time.
template <int K, int V, int P>
__device__ __forceinline__ void depthwise_gradient_stride2(const number* __restrict__ dy, const float* __restrict__ w,
                                                           const number* __restrict__ x, const float* mean,
                                                           const float* offset, int with_relu, number* dx, int add,
                                                           int strips_per_block, float* parts, unsigned int* counters,
                                                           const Sums& to, const Window& g, float* room, double* wide,
                                                           unsigned int* flag) {
    const int HALF = (K + 1) / 2;
    const int top = g.top / 2, left = g.left / 2, lanes = blockDim.x;
    const int tall = (g.top + g.height - 1) / 2 - top + 1, across = (g.left + g.width - 1) / 2 - left + 1;
    const int strips = (across + P - 1) / P;
    const Columns<V> columns((long long)g.images * tall * strips, g.channels, strips_per_block);
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
        // Without branches, so that all loads can be under way together: what is not there is read from the first pixel.
        const bool summing = to.slope != nullptr, rectifies = with_relu != 0;
        for (long long strip = columns.first; strip < columns.end; strip += blockDim.y) {
            const Strip<V, P> at((unsigned int)strip, V, across, tall);
            const int i = 2 * (at.i + top) - g.top, j = 2 * (at.j + left) - g.left;
            const int row = at.i + top, first = at.j + left - (HALF - 1);
            const auto inside = [&](int e, int p) {
                return ((unsigned int)(i + e) < (unsigned int)g.height) & ((unsigned int)(j + p) < (unsigned int)g.width);
            };
            const long long place = (((long long)at.n * g.height + i) * g.width + j) * g.channels + c;
            const auto spot = [&](int e, int p) { return inside(e, p) ? place + (e * g.width + p) * g.channels : c; };
            Pack<V> value[2][2 * P], sums[2][2 * P];
#pragma unroll
            for (int e = 0; e < 2; ++e) {
#pragma unroll
                for (int p = 0; p < 2 * P; ++p) {
                    sums[e][p] = splat<V>(0.0f);
                    value[e][p] = load<V>(x + spot(e, p));
                }
            }
            const Pack<V> factor = kept(K * K), shift = kept(K * K + 1);
#pragma unroll
            for (int e = 0; e < 2; ++e) {
#pragma unroll
                for (int p = 0; p < 2 * P; ++p) {
#pragma unroll
                    for (int v = 0; v < V; ++v) {
                        const float read = fmaf(value[e][p].v[v], factor.v[v], shift.v[v]);
                        value[e][p].v[v] = inside(e, p) & !(rectifies & (read < 0.0f)) ? read : 0.0f;
                    }
                }
            }
#pragma unroll
            for (int h = 0; h < HALF; ++h) {
                const bool real = (unsigned int)(row - h) < (unsigned int)g.out_height;
                const long long line = (((long long)at.n * g.out_height + row - h) * g.out_width + first) * g.channels + c;
                Pack<V> window[P + HALF - 1];
#pragma unroll
                for (int m = 0; m < P + HALF - 1; ++m) {
                    const bool there = real & ((unsigned int)(first + m) < (unsigned int)g.out_width);
                    window[m] = load<V>(dy + (there ? line + m * g.channels : c));
#pragma unroll
                    for (int v = 0; v < V; ++v) window[m].v[v] = there ? window[m].v[v] : 0.0f;
                }
#pragma unroll
                for (int e = 0; e < 2; ++e) {
                    if (e + 2 * h >= K) continue;
#pragma unroll
                    for (int b = 0; b < K; ++b) {
                        const int tap = (e + 2 * h) * K + b;
                        const Pack<V> weight = kept(tap);
#pragma unroll
                        for (int p = 0; p < P; ++p) {
                            fma<V>(sums[e][2 * p + b % 2], window[p + HALF - 1 - b / 2], weight);
                            fma<V>(taps[tap], window[p + HALF - 1 - b / 2], value[e][2 * p + b % 2]);
                        }
                    }
                }
            }
            if (!dx) continue;
            const Pack<V> m = kept(K * K + 2);
#pragma unroll
            for (int e = 0; e < 2; ++e) {
                Pack<V> old[2 * P], before[2 * P];
#pragma unroll
                for (int p = 0; p < 2 * P; ++p) {
                    old[p] = splat<V>(0.0f);
                    before[p] = m;
                }
                if (add) {
#pragma unroll
                    for (int p = 0; p < 2 * P; ++p) old[p] = load<V>(dx + spot(e, p));
                }
                if (summing) {
#pragma unroll
                    for (int p = 0; p < 2 * P; ++p) before[p] = load<V>(x + spot(e, p));
                }
#pragma unroll
                for (int p = 0; p < 2 * P; ++p) {
                    Pack<V> sum = sums[e][p];
#pragma unroll
                    for (int v = 0; v < V; ++v) {
                        // A ReLU's output is positive where its input is.
                        if (!inside(e, p) | (rectifies & !(value[e][p].v[v] > 0.0f))) sum.v[v] = 0.0f;
                        totals[0].v[v] += sum.v[v];
                        totals[1].v[v] = fmaf(sum.v[v], before[p].v[v] - m.v[v], totals[1].v[v]);
                        sum.v[v] += old[p].v[v];
                    }
                    if (inside(e, p)) store(dx + spot(e, p), sum);
                }
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

#define DEPTHWISE_GRADIENT_STRIDE2(NAME, K, V, P)                                                                        \
    extern "C" __global__ void __launch_bounds__(COLUMN_THREADS, 2)                                                      \
        NAME(const number* __restrict__ dy, const float* __restrict__ w, const number* __restrict__ x, const float* mean, \
             const float* inverse, const float* factor, const float* offset, int with_relu, number* dx, int add,         \
             int strips_per_block, float* parts, unsigned int* counters, float* slope, float* constant, float* dscale,   \
             float* dshift, Window g) {                                                                                  \
        __shared__ __align__(16) float room[K * K * TAP_ROOM];                                                           \
        __shared__ double wide[2 * TAP_ROOM];                                                                            \
        __shared__ unsigned int flag;                                                                                    \
        const Sums to = {inverse, factor, slope, constant, dscale, dshift};                                              \
        depthwise_gradient_stride2<K, V, P>(dy, w, x, mean, offset, with_relu, dx, add, strips_per_block, parts,         \
                                            counters, to, g, room, wide, &flag);                                         \
    }
DEPTHWISE_GRADIENT_STRIDE2(depthwise_gradient_k3_stride2, 3, 2, 2)
DEPTHWISE_GRADIENT_STRIDE2(depthwise_gradient_k5_stride2, 5, 2, 2)
DEPTHWISE_GRADIENT_STRIDE2(depthwise_gradient_k7_stride2, 7, 1, 4)

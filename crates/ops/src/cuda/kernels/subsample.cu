// Subsampling.

// Every stride-th pixel from pixel `offset` on, zero beyond the edge; and its gradient, which takes one thread for each
// number of dx.
template <int V>
__device__ __forceinline__ void subsample(const number* __restrict__ x, number* y, int images, int height, int width,
                                          int channels, int stride, int offset) {
    const int out_height = (height + stride - 1) / stride, out_width = (width + stride - 1) / stride;
    const unsigned int work = (unsigned int)images * out_height * out_width * (channels / V);
    for (unsigned int index = thread_index(); index < work; index += thread_count()) {
        const Strip<V, 1> at(index, channels, out_width, out_height);
        const int i = at.i * stride + offset, j = at.j * stride + offset;
        Pack<V> value = splat<V>(0.0f);
        if (i < height && j < width) value = load<V>(x + (((size_t)at.n * height + i) * width + j) * channels + at.c);
        store(y + (size_t)index * V, value);
    }
}
template <int V>
__device__ __forceinline__ void subsample_gradient(const number* __restrict__ dy, number* dx, int images, int height,
                                                   int width, int channels, int stride, int offset, int add) {
    const int out_height = (height + stride - 1) / stride, out_width = (width + stride - 1) / stride;
    const unsigned int work = (unsigned int)images * height * width * (channels / V);
    for (unsigned int index = thread_index(); index < work; index += thread_count()) {
        const Strip<V, 1> at(index, channels, width, height);
        // As unsigned numbers, those before the first pixel lie beyond all that are taken.
        const unsigned int i = (unsigned int)(at.i - offset), j = (unsigned int)(at.j - offset);
        const unsigned int oi = i / (unsigned int)stride, oj = j / (unsigned int)stride;
        const bool taken = oi < (unsigned int)out_height && oj < (unsigned int)out_width && oi * stride == i && oj * stride == j;
        if (!taken && add) continue;
        const number* const from = dy + (((size_t)at.n * out_height + oi) * out_width + oj) * channels + at.c;
        const Pack<V> value = taken ? load<V>(from) : splat<V>(0.0f);
        put<V>(dx + (size_t)index * V, value, add);
    }
}
#define SUBSAMPLE(V)                                                                                                     \
    extern "C" __global__ void subsample_##V(const number* x, number* y, int images, int height, int width, int channels, \
                                             int stride, int offset) {                                                   \
        subsample<V>(x, y, images, height, width, channels, stride, offset);                                             \
    }                                                                                                                    \
    extern "C" __global__ void subsample_gradient_##V(const number* dy, number* dx, int images, int height, int width,   \
                                                      int channels, int stride, int offset, int add) {                   \
        subsample_gradient<V>(dy, dx, images, height, width, channels, stride, offset, add);                             \
    }
SUBSAMPLE(4)
SUBSAMPLE(1)

// y[r, c] = x[r, c], or 0 from channel `from` on: the first channels of a tensor, and the gradient of taking them.
template <int V>
__device__ __forceinline__ void truncate(const number* __restrict__ x, number* y, int rows, int from, int to, int add) {
    const int packs = to / V;
    for (unsigned int i = thread_index(); i < (unsigned int)rows * packs; i += thread_count()) {
        const int c = (int)(i % packs) * V;
        const Pack<V> value = c < from ? load<V>(x + (size_t)(i / packs) * from + c) : splat<V>(0.0f);
        put<V>(y + (size_t)i * V, value, add);
    }
}
#define TRUNCATE(V)                                                                                                      \
    extern "C" __global__ void truncate_##V(const number* x, number* y, int rows, int from, int to, int add) {           \
        truncate<V>(x, y, rows, from, to, add);                                                                          \
    }
TRUNCATE(4)
TRUNCATE(1)

// Subsampling.

// Every stride-th pixel from pixel `offset` on, zero beyond the edge; and its gradient, which takes one thread for each
// number of dx.
template <int V>
__device__ __forceinline__ void subsample(const float* __restrict__ x, float* y, int images, int height, int width,
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
__device__ __forceinline__ void subsample_gradient(const float* __restrict__ dy, float* dx, int images, int height,
                                                   int width, int channels, int stride, int offset, int add) {
    const int out_height = (height + stride - 1) / stride, out_width = (width + stride - 1) / stride;
    const unsigned int work = (unsigned int)images * height * width * (channels / V);
    for (unsigned int index = thread_index(); index < work; index += thread_count()) {
        const Strip<V, 1> at(index, channels, width, height);
        const int i = at.i - offset, j = at.j - offset;
        const bool taken = i >= 0 && j >= 0 && i % stride == 0 && j % stride == 0;
        if (!taken && add) continue;
        Pack<V> value = splat<V>(0.0f);
        if (taken) {
            const size_t row = (size_t)at.n * out_height + i / stride;
            value = load<V>(dy + (row * out_width + j / stride) * channels + at.c);
        }
        put<V>(dx + (size_t)index * V, value, add);
    }
}
#define SUBSAMPLE(V)                                                                                                     \
    extern "C" __global__ void subsample_##V(const float* x, float* y, int images, int height, int width, int channels, \
                                             int stride, int offset) {                                                   \
        subsample<V>(x, y, images, height, width, channels, stride, offset);                                             \
    }                                                                                                                    \
    extern "C" __global__ void subsample_gradient_##V(const float* dy, float* dx, int images, int height, int width,    \
                                                      int channels, int stride, int offset, int add) {                   \
        subsample_gradient<V>(dy, dx, images, height, width, channels, stride, offset, add);                             \
    }
SUBSAMPLE(4)
SUBSAMPLE(1)

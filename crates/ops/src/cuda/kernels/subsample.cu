// Subsampling.

// A pack of channels of a pixel, by the number of its first unit in a tensor.
template <int V> struct PixelOf {
    unsigned int pixel, line, n, i, j, c;
    __device__ __forceinline__ PixelOf(unsigned int unit, const Divisor& row, const Divisor& width, const Divisor& height) {
        pixel = row.of(unit);
        line = width.of(pixel);
        n = height.of(line);
        i = line - n * height.by;
        j = pixel - line * width.by;
        c = (unit - pixel * row.by) * Unit<V>::CHANNELS;
    }
};

// Every stride-th pixel from pixel `offset` on, zero beyond the edge; and its gradient, which takes one thread for each
// pack of dx. `row` divides by the units of a pixel; `width` and `height`, by those of what is written.
template <int V>
__device__ __forceinline__ void subsample(const number* __restrict__ x, number* y, int images, const Divisor& row,
                                          const Divisor& width, const Divisor& height, int x_width, int x_height, int stride,
                                          int offset) {
    const int U = Unit<V>::CHANNELS, STEP = Unit<V>::STEP;
    const unsigned int work = images * height.by * width.by * row.by;
    for (unsigned int index = thread_index() * STEP; index < work; index += thread_count() * STEP) {
        const PixelOf<V> at(index, row, width, height);
        const int i = at.i * stride + offset, j = at.j * stride + offset;
        Pack<V> value = splat<V>(0.0f);
        if (i < x_height && j < x_width)
            value = load<V>(x + (((size_t)at.n * x_height + i) * x_width + j) * row.by * U + at.c);
        store(y + (size_t)index * U, value);
    }
}
template <int V>
__device__ __forceinline__ void subsample_gradient(const number* __restrict__ dy, number* dx, int images, const Divisor& row,
                                                   const Divisor& width, const Divisor& height, int dy_width, int dy_height,
                                                   const Divisor& stride, int offset, int add) {
    const int U = Unit<V>::CHANNELS, STEP = Unit<V>::STEP;
    const unsigned int work = images * height.by * width.by * row.by;
    for (unsigned int index = thread_index() * STEP; index < work; index += thread_count() * STEP) {
        const PixelOf<V> at(index, row, width, height);
        const int i = (int)at.i - offset, j = (int)at.j - offset;
        const int oi = (int)stride.of(i), oj = (int)stride.of(j), step = (int)stride.by;
        const bool taken = i >= 0 && j >= 0 && oi < dy_height && oj < dy_width && oi * step == i && oj * step == j;
        if (!taken && add) continue;
        Pack<V> value = splat<V>(0.0f);
        if (taken) value = load<V>(dy + (((size_t)at.n * dy_height + oi) * dy_width + oj) * row.by * U + at.c);
        put<V>(dx + (size_t)index * U, value, add);
    }
}
#define SUBSAMPLE(V)                                                                                                     \
    extern "C" __global__ void subsample_##V(const number* x, number* y, int images, Divisor row, Divisor width,         \
                                             Divisor height, int x_width, int x_height, int stride, int offset) {        \
        if (V == 4 && in_eights(4 * row.by, 0, x))                                                                       \
            return subsample<2 * V>(x, y, images, row, width, height, x_width, x_height, stride, offset);                \
        subsample<V>(x, y, images, row, width, height, x_width, x_height, stride, offset);                               \
    }                                                                                                                    \
    extern "C" __global__ void subsample_gradient_##V(const number* dy, number* dx, int images, Divisor row, Divisor width, \
                                                      Divisor height, int dy_width, int dy_height, Divisor stride,       \
                                                      int offset, int add) {                                             \
        if (V == 4 && in_eights(4 * row.by, 0, dy))                                                                      \
            return subsample_gradient<2 * V>(dy, dx, images, row, width, height, dy_width, dy_height, stride, offset, add); \
        subsample_gradient<V>(dy, dx, images, row, width, height, dy_width, dy_height, stride, offset, add);             \
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

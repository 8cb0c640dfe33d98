// Max and average pooling; padding is not counted. One output a thread, V channels of it.

struct __align__(8) Pool {
    int images, height, width, channels, out_height, out_width;
    int kernel_height, kernel_width, stride_y, stride_x, top, left;
};

// The real positions of a window along one axis: first..last.
struct Taps {
    int first, last;
    __device__ __forceinline__ Taps(int output, int stride, int before, int kernel, int input) {
        const int start = output * stride - before;
        first = start < 0 ? -start : 0;
        last = input - start < kernel ? input - start : kernel;
    }
};

// The outputs whose window holds a pixel: first..last.
struct Windows {
    int first, last;
    __device__ __forceinline__ Windows(int pixel, int stride, int before, int kernel, int outputs) {
        const int place = pixel + before;
        first = place < kernel ? 0 : (place - kernel) / stride + 1;
        last = place / stride + 1 < outputs ? place / stride + 1 : outputs;
    }
};

// Where a maximum was found, as its number in the window.
__device__ __forceinline__ void put_places(unsigned char* to, const int (&place)[1]) { *to = (unsigned char)place[0]; }
__device__ __forceinline__ void put_places(unsigned char* to, const int (&place)[4]) {
    *reinterpret_cast<uchar4*>(to) = make_uchar4((unsigned char)place[0], (unsigned char)place[1],
                                                 (unsigned char)place[2], (unsigned char)place[3]);
}
__device__ __forceinline__ void get_places(const unsigned char* from, int (&place)[1]) { place[0] = *from; }
__device__ __forceinline__ void get_places(const unsigned char* from, int (&place)[4]) {
    const uchar4 q = *reinterpret_cast<const uchar4*>(from);
    place[0] = q.x;
    place[1] = q.y;
    place[2] = q.z;
    place[3] = q.w;
}

// `places` may be null. Of equal numbers the first in reading order wins; NaN wins over all.
template <int V>
__device__ __forceinline__ void max_pool(const number* __restrict__ x, number* y, unsigned char* places, const Pool& g) {
    const unsigned int work = (unsigned int)g.images * g.out_height * g.out_width * (g.channels / V);
    for (unsigned int index = thread_index(); index < work; index += thread_count()) {
        const Strip<V, 1> at(index, g.channels, g.out_width, g.out_height);
        const Taps rows(at.i, g.stride_y, g.top, g.kernel_height, g.height);
        const Taps columns(at.j, g.stride_x, g.left, g.kernel_width, g.width);
        Pack<V> best = splat<V>(0.0f);
        int place[V];
        bool first = true;
        for (int k = rows.first; k < rows.last; ++k) {
            const size_t row = (size_t)at.n * g.height + (at.i * g.stride_y - g.top + k);
            for (int l = columns.first; l < columns.last; ++l) {
                const int column = at.j * g.stride_x - g.left + l;
                const Pack<V> value = load<V>(x + (row * g.width + column) * g.channels + at.c);
#pragma unroll
                for (int i = 0; i < V; ++i) {
                    const bool larger = first || value.v[i] > best.v[i] || isnan(value.v[i]);
                    best.v[i] = larger ? value.v[i] : best.v[i];
                    place[i] = larger ? k * g.kernel_width + l : place[i];
                }
                first = false;
            }
        }
        store(y + (size_t)index * V, best);
        if (places) put_places(places + (size_t)index * V, place);
    }
}

template <int V>
__device__ __forceinline__ void max_pool_gradient(const number* __restrict__ dy, const unsigned char* __restrict__ places,
                                                  number* dx, int add, const Pool& g) {
    const unsigned int work = (unsigned int)g.images * g.height * g.width * (g.channels / V);
    for (unsigned int index = thread_index(); index < work; index += thread_count()) {
        const Strip<V, 1> at(index, g.channels, g.width, g.height);
        const Windows rows(at.i, g.stride_y, g.top, g.kernel_height, g.out_height);
        const Windows columns(at.j, g.stride_x, g.left, g.kernel_width, g.out_width);
        Pack<V> sum = splat<V>(0.0f);
        for (int oi = rows.first; oi < rows.last; ++oi) {
            for (int oj = columns.first; oj < columns.last; ++oj) {
                const int code = (at.i + g.top - oi * g.stride_y) * g.kernel_width + at.j + g.left - oj * g.stride_x;
                const size_t from = (((size_t)at.n * g.out_height + oi) * g.out_width + oj) * g.channels + at.c;
                const Pack<V> gradient = load<V>(dy + from);
                int place[V];
                get_places(places + from, place);
#pragma unroll
                for (int i = 0; i < V; ++i)
                    if (place[i] == code) sum.v[i] += gradient.v[i];
            }
        }
        put<V>(dx + (size_t)index * V, sum, add);
    }
}

template <int V>
__device__ __forceinline__ void average_pool(const number* __restrict__ x, number* y, const Pool& g) {
    const unsigned int work = (unsigned int)g.images * g.out_height * g.out_width * (g.channels / V);
    for (unsigned int index = thread_index(); index < work; index += thread_count()) {
        const Strip<V, 1> at(index, g.channels, g.out_width, g.out_height);
        const Taps rows(at.i, g.stride_y, g.top, g.kernel_height, g.height);
        const Taps columns(at.j, g.stride_x, g.left, g.kernel_width, g.width);
        Pack<V> sum = splat<V>(0.0f);
        for (int k = rows.first; k < rows.last; ++k) {
            const size_t row = (size_t)at.n * g.height + (at.i * g.stride_y - g.top + k);
            for (int l = columns.first; l < columns.last; ++l) {
                const int column = at.j * g.stride_x - g.left + l;
                plus<V>(sum, load<V>(x + (row * g.width + column) * g.channels + at.c));
            }
        }
        const float share = 1.0f / (float)((rows.last - rows.first) * (columns.last - columns.first));
#pragma unroll
        for (int i = 0; i < V; ++i) sum.v[i] *= share;
        store(y + (size_t)index * V, sum);
    }
}

template <int V>
__device__ __forceinline__ void average_pool_gradient(const number* __restrict__ dy, number* dx, int add, const Pool& g) {
    const unsigned int work = (unsigned int)g.images * g.height * g.width * (g.channels / V);
    for (unsigned int index = thread_index(); index < work; index += thread_count()) {
        const Strip<V, 1> at(index, g.channels, g.width, g.height);
        const Windows rows(at.i, g.stride_y, g.top, g.kernel_height, g.out_height);
        const Windows columns(at.j, g.stride_x, g.left, g.kernel_width, g.out_width);
        Pack<V> sum = splat<V>(0.0f);
        for (int oi = rows.first; oi < rows.last; ++oi) {
            const Taps down(oi, g.stride_y, g.top, g.kernel_height, g.height);
            for (int oj = columns.first; oj < columns.last; ++oj) {
                const Taps right(oj, g.stride_x, g.left, g.kernel_width, g.width);
                const Pack<V> share = splat<V>(1.0f / (float)((down.last - down.first) * (right.last - right.first)));
                const size_t from = (((size_t)at.n * g.out_height + oi) * g.out_width + oj) * g.channels + at.c;
                fma<V>(sum, load<V>(dy + from), share);
            }
        }
        put<V>(dx + (size_t)index * V, sum, add);
    }
}

#define POOL(V)                                                                                                          \
    extern "C" __global__ void max_pool_##V(const number* x, number* y, unsigned char* places, Pool g) {                 \
        max_pool<V>(x, y, places, g);                                                                                    \
    }                                                                                                                    \
    extern "C" __global__ void max_pool_gradient_##V(const number* dy, const unsigned char* places, number* dx, int add, \
                                                     Pool g) {                                                           \
        max_pool_gradient<V>(dy, places, dx, add, g);                                                                    \
    }                                                                                                                    \
    extern "C" __global__ void average_pool_##V(const number* x, number* y, Pool g) { average_pool<V>(x, y, g); }        \
    extern "C" __global__ void average_pool_gradient_##V(const number* dy, number* dx, int add, Pool g) {                \
        average_pool_gradient<V>(dy, dx, add, g);                                                                        \
    }
POOL(4)
POOL(1)

// Operations on single numbers: a factor and an offset for each channel with ReLU, activation functions, and the gradient
// that a ReLU lets through.

// y = relu(x · factor + offset); see `Prologue`. `row` divides by the packs of a pixel; from a pixel of y to the next are
// `stride` numbers. One thread, V channels of a pixel.
template <int V>
__device__ __forceinline__ void affine(const number* x, const float* factor, const float* offset, number* y, int pixels,
                                       const Divisor& row, int stride, int with_relu) {
    const int U = Unit<V>::CHANNELS, STEP = Unit<V>::STEP;
    for (unsigned int i = thread_index() * STEP; i < pixels * row.by; i += thread_count() * STEP) {
        const unsigned int pixel = row.of(i), c = (i - pixel * row.by) * U;
        const Pack<V> value = Prologue<V>(factor, offset, c, with_relu).of(load<V>(x + (size_t)i * U));
        store(y + (size_t)pixel * stride + c, value);
    }
}
extern "C" __global__ void affine_4(const number* x, const float* factor, const float* offset, number* y, int pixels,
                                    Divisor row, int stride, int with_relu) {
    if (in_eights(4 * row.by, stride, y)) return affine<8>(x, factor, offset, y, pixels, row, stride, with_relu);
    affine<4>(x, factor, offset, y, pixels, row, stride, with_relu);
}
extern "C" __global__ void affine_1(const number* x, const float* factor, const float* offset, number* y, int pixels,
                                    Divisor row, int stride, int with_relu) {
    affine<1>(x, factor, offset, y, pixels, row, stride, with_relu);
}

// dx = dy where x · factor + offset > 0, else 0.
template <int V>
__device__ __forceinline__ void gate(const number* x, const float* factor, const float* offset, const number* dy, number* dx,
                                     int pixels, int channels, int add) {
    const int quads = channels / V;
    for (unsigned int i = thread_index(); i < (unsigned int)pixels * quads; i += thread_count()) {
        const int c = (int)(i % quads) * V;
        const Pack<V> g = Prologue<V>(factor, offset, c, 0).gate(load<V>(x + (size_t)i * V), load<V>(dy + (size_t)i * V));
        put<V>(dx + (size_t)i * V, g, add);
    }
}
extern "C" __global__ void gate_4(const number* x, const float* factor, const float* offset, const number* dy, number* dx,
                                  int pixels, int channels, int add) {
    if (in_eights(channels, channels, x)) return gate<8>(x, factor, offset, dy, dx, pixels, channels, add);
    gate<4>(x, factor, offset, dy, dx, pixels, channels, add);
}
extern "C" __global__ void gate_1(const number* x, const float* factor, const float* offset, const number* dy, number* dx,
                                  int pixels, int channels, int add) {
    gate<1>(x, factor, offset, dy, dx, pixels, channels, add);
}

// The activation functions by number, as in `Activation::ALL`.
enum { RELU, RELU6, SWISH, HARD_SWISH, SIGMOID, HARD_SIGMOID };

// x held within low..=high; a NaN stays one.
__device__ __forceinline__ float held(float x, float low, float high) {
    x = x < low ? low : x;
    return x > high ? high : x;
}
__device__ __forceinline__ float sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }

__device__ __forceinline__ float activated(int kind, float x) {
    switch (kind) {
        case RELU: return relu(x);
        case RELU6: return held(x, 0.0f, 6.0f);
        case SWISH: return x * sigmoid(x);
        case HARD_SWISH: return x * held(x + 3.0f, 0.0f, 6.0f) * (1.0f / 6.0f);
        case SIGMOID: return sigmoid(x);
        default: return held(x + 3.0f, 0.0f, 6.0f) * (1.0f / 6.0f);
    }
}
__device__ __forceinline__ float slope(int kind, float x) {
    switch (kind) {
        case RELU: return x > 0.0f ? 1.0f : 0.0f;
        case RELU6: return x > 0.0f && x < 6.0f ? 1.0f : 0.0f;
        case SWISH: {
            const float s = sigmoid(x);
            return s + x * s * (1.0f - s);
        }
        case HARD_SWISH: return x < -3.0f ? 0.0f : x > 3.0f ? 1.0f : x * (1.0f / 3.0f) + 0.5f;
        case SIGMOID: {
            const float s = sigmoid(x);
            return s * (1.0f - s);
        }
        default: return x > -3.0f && x < 3.0f ? 1.0f / 6.0f : 0.0f;
    }
}

template <int V> __device__ __forceinline__ void activation(const number* x, number* y, int packs, int kind) {
    for (unsigned int i = thread_index(); i < packs; i += thread_count()) {
        Pack<V> value = load<V>(x + (size_t)i * V);
#pragma unroll
        for (int k = 0; k < V; ++k) value.v[k] = activated(kind, value.v[k]);
        store(y + (size_t)i * V, value);
    }
}
template <int V>
__device__ __forceinline__ void activation_gradient(const number* x, const number* dy, number* dx, int packs, int kind, int add) {
    for (unsigned int i = thread_index(); i < packs; i += thread_count()) {
        const Pack<V> value = load<V>(x + (size_t)i * V);
        Pack<V> g = load<V>(dy + (size_t)i * V);
#pragma unroll
        for (int k = 0; k < V; ++k) g.v[k] *= slope(kind, value.v[k]);
        put<V>(dx + (size_t)i * V, g, add);
    }
}
#define ACTIVATION(V)                                                                                                    \
    extern "C" __global__ void activation_##V(const number* x, number* y, int packs, int kind) {                         \
        if (V == 4 && in_eights(4 * packs, 0, x)) return activation<2 * V>(x, y, packs / 2, kind);                       \
        activation<V>(x, y, packs, kind);                                                                                \
    }                                                                                                                    \
    extern "C" __global__ void activation_gradient_##V(const number* x, const number* dy, number* dx, int packs, int kind, \
                                                       int add) {                                                        \
        if (V == 4 && in_eights(4 * packs, 0, x)) return activation_gradient<2 * V>(x, dy, dx, packs / 2, kind, add);    \
        activation_gradient<V>(x, dy, dx, packs, kind, add);                                                             \
    }
ACTIVATION(4)
ACTIVATION(1)

// y[row, c] += bias[c]
template <int V>
__device__ __forceinline__ void add_bias(const float* bias, number* y, int rows, int channels) {
    const int packs = channels / V;
    for (unsigned int i = thread_index(); i < (unsigned int)rows * packs; i += thread_count())
        put<V>(y + (size_t)i * V, load<V>(bias + (int)(i % packs) * V), 1);
}
extern "C" __global__ void add_bias_4(const float* bias, number* y, int rows, int channels) {
    add_bias<4>(bias, y, rows, channels);
}
extern "C" __global__ void add_bias_1(const float* bias, number* y, int rows, int channels) {
    add_bias<1>(bias, y, rows, channels);
}

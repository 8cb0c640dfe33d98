// Sums of branches, concatenation, products, gates, and sums over the pixels of an image.

#define TERMS 8

// y[n] = Σ share[n] · (x[n], or x[n] · factor + offset), then ReLU if `rectify`. An input whose share is 0 is not read. From a
// pixel of y to the next are `stride` numbers.
struct __align__(8) Terms {
    const number* x[TERMS];
    const float* factor[TERMS];  // of each channel, or null
    const float* offset[TERMS];
    const float* shares[TERMS];  // a share for each image, or null
    float share[TERMS];          // where shares is null: that of all images
    int count, add, rectify, unused;
};
// `row` divides by the packs of a pixel, `image` by those of an image.
template <int V>
__device__ __forceinline__ void combine(const Terms& terms, number* y, int images, const Divisor& row, const Divisor& image,
                                        int stride) {
    const int U = Unit<V>::CHANNELS, STEP = Unit<V>::STEP, UNDER_WAY = 2;
    for (unsigned int i = thread_index() * STEP; i < images * image.by; i += thread_count() * STEP) {
        const unsigned int pixel = row.of(i), c = (i - pixel * row.by) * U;
        number* const to = y + (size_t)pixel * stride + c;
        Pack<V> sum = terms.add ? load<V>(to) : splat<V>(0.0f);
        for (int first = 0; first < terms.count; first += UNDER_WAY) {
            Pack<V> x[UNDER_WAY];
            float share[UNDER_WAY];
#pragma unroll
            for (int k = 0; k < UNDER_WAY; ++k) {
                const int t = first + k;
                share[k] = t >= terms.count ? 0.0f : terms.shares[t] ? terms.shares[t][image.of(i)] : terms.share[t];
                x[k] = splat<V>(0.0f);
                if (share[k] != 0.0f) x[k] = load<V>(terms.x[t] + (size_t)i * U);
            }
#pragma unroll
            for (int k = 0; k < UNDER_WAY; ++k) {
                const int t = first + k;
                if (share[k] == 0.0f) continue;
                const Prologue<V> prologue(terms.factor[t], terms.offset[t], c, 0);
                fma<V>(sum, prologue.of(x[k]), splat<V>(share[k]));
            }
        }
        if (terms.rectify) {
#pragma unroll
            for (int k = 0; k < V; ++k) sum.v[k] = relu(sum.v[k]);
        }
        store(to, sum);
    }
}
extern "C" __global__ void combine_4(Terms terms, number* y, int images, Divisor row, Divisor image, int stride) {
    if (in_eights(4 * row.by, stride, y)) return combine<8>(terms, y, images, row, image, stride);
    combine<4>(terms, y, images, row, image, stride);
}
extern "C" __global__ void combine_1(Terms terms, number* y, int images, Divisor row, Divisor image, int stride) {
    combine<1>(terms, y, images, row, image, stride);
}

// The gradients of such a sum: dx[n] = share[n] · dy[n] for every input, nothing where a ReLU's output y is not positive
// (null without a ReLU); no two are the same. From a pixel of dy to the next are `stride` numbers.
struct __align__(8) TermGradients {
    number* dx[TERMS];
    const float* shares[TERMS];
    float share[TERMS];
    int add[TERMS];
    int count, unused;
};
template <int V>
__device__ __forceinline__ void combine_gradient(const TermGradients& terms, const number* __restrict__ dy, const number* y,
                                                 int images, const Divisor& row, const Divisor& image, int stride) {
    const int U = Unit<V>::CHANNELS, STEP = Unit<V>::STEP;
    for (unsigned int i = thread_index() * STEP; i < images * image.by; i += thread_count() * STEP) {
        const unsigned int pixel = row.of(i);
        Pack<V> g = load<V>(dy + (size_t)pixel * stride + (i - pixel * row.by) * U);
        if (y) {
            const Pack<V> after = load<V>(y + (size_t)i * U);
#pragma unroll
            for (int k = 0; k < V; ++k)
                if (!(after.v[k] > 0.0f)) g.v[k] = 0.0f;
        }
        for (int t = 0; t < terms.count; ++t) {
            const float share = terms.shares[t] ? terms.shares[t][image.of(i)] : terms.share[t];
            if (share == 0.0f && terms.add[t]) continue;
            Pack<V> part = splat<V>(0.0f);
            if (share != 0.0f) fma<V>(part, g, splat<V>(share));
            put<V>(terms.dx[t] + (size_t)i * U, part, terms.add[t]);
        }
    }
}
extern "C" __global__ void combine_gradient_4(TermGradients terms, const number* dy, const number* y, int images, Divisor row,
                                              Divisor image, int stride) {
    if (in_eights(4 * row.by, stride, dy)) return combine_gradient<8>(terms, dy, y, images, row, image, stride);
    combine_gradient<4>(terms, dy, y, images, row, image, stride);
}
extern "C" __global__ void combine_gradient_1(TermGradients terms, const number* dy, const number* y, int images, Divisor row,
                                              Divisor image, int stride) {
    combine_gradient<1>(terms, dy, y, images, row, image, stride);
}

// Pieces of a concatenation: piece p is `width` channels from channel `begin` on.
struct __align__(8) Pieces {
    number* piece[TERMS];
    int begin[TERMS], width[TERMS], add[TERMS];
    int count, eights;  // how many; whether 8 divides all of these
};
// `row` divides by the packs of a pixel of all pieces together; from a pixel of the whole to the next are `stride` numbers.
template <int V, bool GRADIENT>
__device__ __forceinline__ void concat(const Pieces& pieces, number* whole, int pixels, const Divisor& row, int stride) {
    const int U = Unit<V>::CHANNELS, STEP = Unit<V>::STEP;
    for (unsigned int i = thread_index() * STEP; i < pixels * row.by; i += thread_count() * STEP) {
        const size_t pixel = row.of(i);
        int c = (int)(i - (unsigned int)pixel * row.by) * U, p = 0;
        while (p + 1 < pieces.count && c >= pieces.width[p]) c -= pieces.width[p++];
        number* const part = pieces.piece[p] + pixel * pieces.width[p] + c;
        number* const at = whole + pixel * stride + pieces.begin[p] + c;
        if (GRADIENT) {
            put<V>(part, load<V>(at), pieces.add[p]);
        } else {
            store(at, load<V>(part));
        }
    }
}
#define CONCAT(NAME, V, GRADIENT)                                                                                        \
    extern "C" __global__ void NAME(Pieces pieces, number* whole, int pixels, Divisor row, int stride) {                 \
        if (V == 4 && pieces.eights && in_eights(stride, stride, whole))                                                 \
            return concat<2 * V, GRADIENT>(pieces, whole, pixels, row, stride);                                          \
        concat<V, GRADIENT>(pieces, whole, pixels, row, stride);                                                         \
    }
CONCAT(concat_4, 4, false)
CONCAT(concat_1, 1, false)
CONCAT(concat_gradient_4, 4, true)
CONCAT(concat_gradient_1, 1, true)

// y = a · b
template <int V> __device__ __forceinline__ void each_product(const number* a, const number* b, number* y, int packs, int add) {
    for (unsigned int i = thread_index(); i < packs; i += thread_count()) {
        Pack<V> value = load<V>(a + (size_t)i * V);
        const Pack<V> factor = load<V>(b + (size_t)i * V);
#pragma unroll
        for (int k = 0; k < V; ++k) value.v[k] *= factor.v[k];
        put<V>(y + (size_t)i * V, value, add);
    }
}
extern "C" __global__ void each_product_4(const number* a, const number* b, number* y, int packs, int add) {
    if (in_eights(4 * packs, 0, a)) return each_product<8>(a, b, y, packs / 2, add);
    each_product<4>(a, b, y, packs, add);
}
extern "C" __global__ void each_product_1(const number* a, const number* b, number* y, int packs, int add) {
    each_product<1>(a, b, y, packs, add);
}

// y[n, p, c] = (x[n, p, c], or 1 without x) · gate[n, c] · scale
template <int V>
__device__ __forceinline__ void spread(const number* x, const float* __restrict__ gate, float scale, number* y, int images,
                                       int pixels, int channels, int add) {
    const int packs = channels / V;
    for (unsigned int i = thread_index(); i < (unsigned int)images * pixels * packs; i += thread_count()) {
        const int c = (int)(i % packs) * V;
        Pack<V> value = load<V>(gate + (size_t)(i / packs / pixels) * channels + c);
        const Pack<V> factor = x ? load<V>(x + (size_t)i * V) : splat<V>(1.0f);
#pragma unroll
        for (int k = 0; k < V; ++k) value.v[k] *= factor.v[k] * scale;
        put<V>(y + (size_t)i * V, value, add);
    }
}
// sums[n, c] = Σ over p of x[n, p, c] · (z[n, p, c], or 1 without z) · scale. blockIdx.y is the image.
template <int V>
__device__ __forceinline__ void image_sums(const number* __restrict__ x, const number* z, float scale, float* sums,
                                           int pixels, int channels, int add, float* room) {
    const int c = (blockIdx.x * blockDim.x + threadIdx.x) * V;
    const bool inside = c < channels;
    Pack<V> own[1] = {splat<V>(0.0f)};
    if (inside) {
        for (int p = threadIdx.y; p < pixels; p += blockDim.y) {
            const size_t from = ((size_t)blockIdx.y * pixels + p) * channels + c;
            fma<V>(own[0], load<V>(x + from), z ? load<V>(z + from) : splat<V>(1.0f));
        }
    }
    over_rows_of_warp(own, room);
    __syncthreads();
    const int thread = threadIdx.y * blockDim.x + threadIdx.x, width = blockDim.x * V, channel = blockIdx.x * width + thread;
    if (thread >= width || channel >= channels) return;
    const float sum = over_warps<float>(room, width, thread) * scale;
    float* const to = sums + (size_t)blockIdx.y * channels + channel;
    *to = add ? *to + sum : sum;
}
#define BY_IMAGE(V)                                                                                                      \
    extern "C" __global__ void spread_##V(const number* x, const float* gate, float scale, number* y, int images,        \
                                          int pixels, int channels, int add) {                                           \
        spread<V>(x, gate, scale, y, images, pixels, channels, add);                                                     \
    }                                                                                                                    \
    extern "C" __global__ void image_sums_##V(const number* x, const number* z, float scale, float* sums, int pixels,    \
                                              int channels, int add) {                                                   \
        __shared__ float room[V * SUM_ROOM];                                                                             \
        image_sums<V>(x, z, scale, sums, pixels, channels, add, room);                                                   \
    }
BY_IMAGE(4)
BY_IMAGE(1)

// What all kernels share. Tensors are NHWC. A gradient is stored where `add` is 0 and added where it is 1.
// Sums are taken in a fixed order: the same numbers give the same bits in every run on one kind of GPU.

#define WARP 32
#define ALL_LANES 0xffffffffu

#ifndef EMULATED
__device__ __forceinline__ float of_bits(unsigned int bits) { return __uint_as_float(bits); }
#endif

// A number of a tensor of images, activations or their gradients. All else is fp32, and so is what is computed.
#ifdef BF16
#ifndef EMULATED
// Two numbers as bfloat16, rounded to the nearest, of two to the even one.
__device__ __forceinline__ unsigned int bf16_pair(float low, float high) {
    unsigned int pair;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
    return pair;
}
// Each half's sign in all of its bits.
__device__ __forceinline__ unsigned int signs_of_halves(unsigned int pair) {
    asm("prmt.b32 %0, %0, 0, 0xbb99;" : "+r"(pair));
    return pair;
}
#endif
struct __align__(2) number {
    unsigned short bits;
    number() = default;
    __device__ __forceinline__ explicit number(float value) : bits((unsigned short)bf16_pair(value, 0.0f)) {}
    __device__ __forceinline__ operator float() const { return of_bits((unsigned int)bits << 16); }
};
#else
typedef float number;
#endif

// A vector of V channels.
template <int V> struct Pack { float v[V]; };

template <int V> __device__ __forceinline__ Pack<V> splat(float value) {
    Pack<V> p;
#pragma unroll
    for (int i = 0; i < V; ++i) p.v[i] = value;
    return p;
}

// Reads V channels, from an address that V times a number's bytes divide, as every multiple of V channels has.
template <int V> __device__ __forceinline__ Pack<V> load(const float* from);
template <> __device__ __forceinline__ Pack<1> load<1>(const float* from) {
    Pack<1> p;
    p.v[0] = *from;
    return p;
}
__device__ __forceinline__ Pack<2> pack(float2 q) {
    Pack<2> p;
    p.v[0] = q.x;
    p.v[1] = q.y;
    return p;
}
__device__ __forceinline__ Pack<4> pack(float4 q) {
    Pack<4> p;
    p.v[0] = q.x;
    p.v[1] = q.y;
    p.v[2] = q.z;
    p.v[3] = q.w;
    return p;
}
__device__ __forceinline__ Pack<8> pack(const Pack<4>& low, const Pack<4>& high) {
    Pack<8> p;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
        p.v[i] = low.v[i];
        p.v[4 + i] = high.v[i];
    }
    return p;
}
template <> __device__ __forceinline__ Pack<2> load<2>(const float* from) {
    return pack(*reinterpret_cast<const float2*>(from));
}
template <> __device__ __forceinline__ Pack<4> load<4>(const float* from) {
    return pack(*reinterpret_cast<const float4*>(from));
}
template <> __device__ __forceinline__ Pack<8> load<8>(const float* from) { return pack(load<4>(from), load<4>(from + 4)); }

#ifdef BF16
template <int V> __device__ __forceinline__ Pack<V> load(const number* from);
template <> __device__ __forceinline__ Pack<1> load<1>(const number* from) {
    Pack<1> p;
    p.v[0] = *from;
    return p;
}
template <> __device__ __forceinline__ Pack<2> load<2>(const number* from) {
    const unsigned int pair = *reinterpret_cast<const unsigned int*>(from);
    return pack(make_float2(of_bits(pair << 16), of_bits(pair & 0xffff0000u)));
}
// Four numbers as they lie in memory, where they take half as many registers.
typedef uint2 Four;
__device__ __forceinline__ Four to_four(const Pack<4>& p) {
    return make_uint2(bf16_pair(p.v[0], p.v[1]), bf16_pair(p.v[2], p.v[3]));
}
__device__ __forceinline__ Pack<4> pack(Four q) {
    return pack(make_float4(of_bits(q.x << 16), of_bits(q.x & 0xffff0000u), of_bits(q.y << 16), of_bits(q.y & 0xffff0000u)));
}
template <> __device__ __forceinline__ Pack<4> load<4>(const number* from) {
    return pack(*reinterpret_cast<const Four*>(from));
}
template <> __device__ __forceinline__ Pack<8> load<8>(const number* from) {
    const uint4 q = *reinterpret_cast<const uint4*>(from);
    return pack(pack(make_uint2(q.x, q.y)), pack(make_uint2(q.z, q.w)));
}
__device__ __forceinline__ void store(number* to, const Pack<1>& p) { *to = (number)p.v[0]; }
__device__ __forceinline__ void store(number* to, const Pack<2>& p) {
    *reinterpret_cast<unsigned int*>(to) = bf16_pair(p.v[0], p.v[1]);
}
__device__ __forceinline__ void store(number* to, const Pack<4>& p) {
    *reinterpret_cast<Four*>(to) = to_four(p);
}
__device__ __forceinline__ void store(number* to, const Pack<8>& p) {
    *reinterpret_cast<uint4*>(to) = make_uint4(bf16_pair(p.v[0], p.v[1]), bf16_pair(p.v[2], p.v[3]),
                                               bf16_pair(p.v[4], p.v[5]), bf16_pair(p.v[6], p.v[7]));
}
#else
typedef float4 Four;
__device__ __forceinline__ Four to_four(const Pack<4>& p) { return make_float4(p.v[0], p.v[1], p.v[2], p.v[3]); }
#endif

// Whether a kernel for channels in fours can take eight at a time, which are the 16 bytes of one access where numbers are
// bfloat16: `channels` and the numbers from a pixel to the next, `stride`, of a tensor that begins at `at`.
__device__ __forceinline__ bool in_eights(int channels, int stride, const number* at) {
    return sizeof(number) == 2 && (channels | stride) % 8 == 0 && (size_t)at % 16 == 0;
}

// Reads what another block has just written, so not from the multiprocessor's own cache.
template <int V> __device__ __forceinline__ Pack<V> load_fresh(const float* from);
template <> __device__ __forceinline__ Pack<1> load_fresh<1>(const float* from) {
    Pack<1> p;
    p.v[0] = __ldcg(from);
    return p;
}
template <> __device__ __forceinline__ Pack<2> load_fresh<2>(const float* from) {
    return pack(__ldcg(reinterpret_cast<const float2*>(from)));
}
template <> __device__ __forceinline__ Pack<4> load_fresh<4>(const float* from) {
    return pack(__ldcg(reinterpret_cast<const float4*>(from)));
}

__device__ __forceinline__ void store(float* to, const Pack<1>& p) { *to = p.v[0]; }
__device__ __forceinline__ void store(float* to, const Pack<2>& p) {
    *reinterpret_cast<float2*>(to) = make_float2(p.v[0], p.v[1]);
}
__device__ __forceinline__ void store(float* to, const Pack<4>& p) {
    *reinterpret_cast<float4*>(to) = make_float4(p.v[0], p.v[1], p.v[2], p.v[3]);
}
__device__ __forceinline__ void store(float* to, const Pack<8>& p) {
    store(to, pack(make_float4(p.v[0], p.v[1], p.v[2], p.v[3])));
    store(to + 4, pack(make_float4(p.v[4], p.v[5], p.v[6], p.v[7])));
}

// Stores a gradient, or adds it.
template <int V, class N> __device__ __forceinline__ void put(N* to, Pack<V> p, int add) {
    if (add) {
        const Pack<V> old = load<V>(to);
#pragma unroll
        for (int i = 0; i < V; ++i) p.v[i] += old.v[i];
    }
    store(to, p);
}

template <int V> __device__ __forceinline__ void fma(Pack<V>& sum, const Pack<V>& a, const Pack<V>& b) {
#pragma unroll
    for (int i = 0; i < V; ++i) sum.v[i] = fmaf(a.v[i], b.v[i], sum.v[i]);
}

template <int V> __device__ __forceinline__ void plus(Pack<V>& sum, const Pack<V>& a) {
#pragma unroll
    for (int i = 0; i < V; ++i) sum.v[i] += a.v[i];
}

// max(x, 0), but NaN stays NaN.
__device__ __forceinline__ float relu(float x) { return x < 0.0f ? 0.0f : x; }

// What a convolution reads: relu(x · factor + offset), each part only if it is there. `factor` null: no norm.
template <int V> struct Prologue {
    Pack<V> factor, offset;
    bool normalises, rectifies;
    Prologue() = default;
    __device__ __forceinline__ Prologue(const float* factors, const float* offsets, int c, int with_relu) {
        normalises = factors != nullptr;
        rectifies = with_relu != 0;
        factor = normalises ? load<V>(factors + c) : splat<V>(1.0f);
        offset = normalises ? load<V>(offsets + c) : splat<V>(0.0f);
    }
    __device__ __forceinline__ Pack<V> of(Pack<V> x) const {
        if (normalises) {
#pragma unroll
            for (int i = 0; i < V; ++i) x.v[i] = fmaf(x.v[i], factor.v[i], offset.v[i]);
        }
        if (rectifies) {
#pragma unroll
            for (int i = 0; i < V; ++i) x.v[i] = relu(x.v[i]);
        }
        return x;
    }
    // The gradient that a ReLU after the norm lets through.
    __device__ __forceinline__ Pack<V> gate(const Pack<V>& x, Pack<V> g) const {
#pragma unroll
        for (int i = 0; i < V; ++i) {
            const float before = normalises ? fmaf(x.v[i], factor.v[i], offset.v[i]) : x.v[i];
            if (!(before > 0.0f)) g.v[i] = 0.0f;
        }
        return g;
    }
};

// The greater one, but NaN where there is one.
__device__ __forceinline__ float at_least(float x, float least) {
#if !defined(EMULATED) && __CUDA_ARCH__ >= 800
    float greater;
    asm("max.NaN.f32 %0, %1, %2;" : "=f"(greater) : "f"(x), "f"(least));
    return greater;
#else
    return x < least ? least : x;
#endif
}

// The threads of a grid take pieces of work from their own number on, in steps of their count; pieces are fewer than 2³¹.
__device__ __forceinline__ unsigned int thread_index() { return blockIdx.x * blockDim.x + threadIdx.x; }
__device__ __forceinline__ unsigned int thread_count() { return gridDim.x * blockDim.x; }

// The units that a thread of a kernel for V channels moves on by: V channels, or fours of them.
template <int V> struct Unit {
    static const int CHANNELS = V < 4 ? V : 4, STEP = V / CHANNELS;
};

// Divides what 31 bits hold without a division; made by `divisor` of kernels.rs.
struct __align__(8) Divisor {
    unsigned int magic, shift, by, unused;
    __device__ __forceinline__ unsigned int of(unsigned int n) const {
        return (unsigned int)((unsigned long long)n * magic >> shift);
    }
};

// The sum over the lanes of a warp, in every lane.
__device__ __forceinline__ float warp_sum(float x) {
#pragma unroll
    for (int lane = WARP / 2; lane > 0; lane /= 2) x += __shfl_xor_sync(ALL_LANES, x, lane);
    return x;
}
__device__ __forceinline__ double warp_sum(double x) {
#pragma unroll
    for (int lane = WARP / 2; lane > 0; lane /= 2) x += __shfl_xor_sync(ALL_LANES, x, lane);
    return x;
}

// Adds 1 to a counter, or sets it to 0 if it is `last`, and returns what it was. Whoever reads what another wrote here also
// sees, past the first-level cache, what that one saw before.
#ifndef EMULATED
__device__ __forceinline__ unsigned int count_up(unsigned int* counter, unsigned int last) {
    unsigned int old;
    asm volatile("atom.acq_rel.gpu.global.inc.u32 %0, [%1], %2;" : "=r"(old) : "l"(counter), "r"(last) : "memory");
    return old;
}
#endif

// Whether this block is the last of `blocks` to come here; what the others wrote before is then visible to it, if it reads
// past the first-level cache. `counter` is 0 before the launch and after it. `flag` is a word of shared memory. One thread
// orders memory for all that wait for it: a fence of each would empty the cache each time.
__device__ __forceinline__ bool last_block(unsigned int* counter, unsigned int blocks, unsigned int* flag) {
    __syncthreads();
    if (threadIdx.x == 0 && threadIdx.y == 0 && threadIdx.z == 0) *flag = count_up(counter, blocks - 1) == blocks - 1;
    __syncthreads();
    return *flag != 0;
}

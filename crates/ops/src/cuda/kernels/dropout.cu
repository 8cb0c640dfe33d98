// Masks of random numbers.

// What a mask is drawn from, in device memory, so that a captured step draws anew. See elementwise/random.rs.
struct __align__(8) Mask {
    unsigned long long start, threshold;
    float kept;
    int unused;
};
// SplitMix64 (Steele, Lea and Flood 2014), entered at any place of its sequence: 0, or what is kept is scaled by.
__device__ __forceinline__ float mask_factor(const Mask& mask, unsigned long long index) {
    unsigned long long z = mask.start + (index + 1) * 0x9e3779b97f4a7c15ull;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    z ^= z >> 31;
    return (z >> 32) < mask.threshold ? mask.kept : 0.0f;
}
// y = x · factor, or y += it. What is dropped is 0 whatever it was.
extern "C" __global__ void dropout(const Mask* mask, const number* x, number* y, int count, int add) {
    const Mask own = *mask;
    for (unsigned int i = thread_index(); i < count; i += thread_count()) {
        const float factor = mask_factor(own, (unsigned long long)i);
        Pack<1> value;
        value.v[0] = factor == 0.0f ? 0.0f : x[i] * factor;
        put<1>(y + i, value, add);
    }
}

// The factors of drop paths: one for each path, whose masks lie beside each other, and each image.
extern "C" __global__ void drop_paths(const Mask* masks, float* factors, int paths, int images) {
    for (unsigned int i = thread_index(); i < (unsigned int)paths * images; i += thread_count())
        factors[i] = mask_factor(masks[i / images], (unsigned long long)(i % images));
}

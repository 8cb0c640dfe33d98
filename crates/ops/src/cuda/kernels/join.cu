// Sums of parts that launches before left. blockIdx.y is the sum; a block has 32 numbers of it and eight parts at a time.

#define JOBS 8
// Parts that a thread has under way: all that it adds up, where the parts are no more than eight times these.
#define JOINED_AT_ONCE 16

struct __align__(8) Jobs {
    const float* parts[JOBS];
    float* to[JOBS];
    int count[JOBS], size[JOBS], add[JOBS];
};

// to[i] = or += Σ over the parts of parts[part][i], in their order.
extern "C" __global__ void __launch_bounds__(256) join_parts(Jobs jobs) {
    __shared__ float room[256];
    const int job = blockIdx.y, i = blockIdx.x * WARP + threadIdx.x, size = jobs.size[job], count = jobs.count[job];
    if (blockIdx.x * WARP >= size) return;
    const float* const parts = jobs.parts[job];
    Pack<1> sum = splat<1>(0.0f);
    if (i < size) {
        for (int first = threadIdx.y; first < count; first += 8 * JOINED_AT_ONCE) {
            float part[JOINED_AT_ONCE];
#pragma unroll
            for (int k = 0; k < JOINED_AT_ONCE; ++k) {
                const int p = first + 8 * k;
                part[k] = p < count ? parts[(size_t)p * size + i] : 0.0f;
            }
#pragma unroll
            for (int k = 0; k < JOINED_AT_ONCE; ++k) sum.v[0] += part[k];
        }
    }
    room[threadIdx.y * WARP + threadIdx.x] = sum.v[0];
    __syncthreads();
    if (threadIdx.y != 0 || i >= size) return;
#pragma unroll
    for (int other = 1; other < 8; ++other) sum.v[0] += room[other * WARP + threadIdx.x];
    put<1>(jobs.to[job] + i, sum, jobs.add[job]);
}

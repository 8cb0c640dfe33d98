// Softmax cross-entropy with label smoothing: the loss of each image, their mean, how many labels are among the k largest
// logits, and the gradient, in one launch. A warp an image.

// What is added up over batches, so that the host reads once an epoch.
struct Totals {
    double loss;
    unsigned long long images, correct_a, correct_b;
};

__device__ __forceinline__ int warp_sum(int x) {
#pragma unroll
    for (int lane = WARP / 2; lane > 0; lane /= 2) x += __shfl_xor_sync(ALL_LANES, x, lane);
    return x;
}
// The largest, but a NaN is not lost.
__device__ __forceinline__ float larger(float a, float b) { return b > a || isnan(b) ? b : a; }

// `ranks` and `losses`: a number for each image. dlogits = or += (p − q) · weight, unless it is null. `mean` and `totals`
// may be null; a label counts for `correct_a` if fewer than `top_a` classes come before it.
extern "C" __global__ void __launch_bounds__(256, 2)
    softmax_cross_entropy(const float* logits, const unsigned int* labels, int images, int classes, float smoothing,
                          float weight, float* losses, int* ranks, float* dlogits, int add, float* mean, Totals* totals,
                          int top_a, int top_b, unsigned int* counter) {
    __shared__ double sums[256];
    __shared__ int firsts[256], seconds[256];
    __shared__ unsigned int flag;
    const int lane = threadIdx.x % WARP;
    const int image = blockIdx.x * (256 / WARP) + threadIdx.x / WARP;
    if (image < images) {
        const float* const x = logits + (size_t)image * classes;
        const int label = (int)labels[image];
        const float own = x[label];
        float largest = own;
        int before = 0;
        for (int k = lane; k < classes; k += WARP) {
            largest = larger(largest, x[k]);
            before += x[k] > own || isnan(x[k]) || (x[k] == own && k < label);
        }
#pragma unroll
        for (int l = WARP / 2; l > 0; l /= 2) largest = larger(largest, __shfl_xor_sync(ALL_LANES, largest, l));
        before = warp_sum(before);
        double sum = 0.0, below = 0.0;
        for (int k = lane; k < classes; k += WARP) {
            sum += (double)expf(x[k] - largest);
            below += (double)x[k] - (double)largest;
        }
        sum = warp_sum(sum);
        below = warp_sum(below);
        if (dlogits) {
            const float share = smoothing / (float)classes, factor = (float)(1.0 / sum);
            for (int k = lane; k < classes; k += WARP) {
                const float target = share + (k == label ? 1.0f - smoothing : 0.0f);
                Pack<1> g;
                g.v[0] = (expf(x[k] - largest) * factor - target) * weight;
                put<1>(dlogits + (size_t)image * classes + k, g, add);
            }
        }
        if (lane == 0) {
            const double all = (double)logf((float)sum), s = (double)smoothing;
            double loss = (1.0 - s) * (all - ((double)own - (double)largest));
            if (s > 0.0) loss += s * (all - below / classes);
            losses[image] = (float)loss;
            ranks[image] = isnan(own) ? 0x7fffffff : before;
        }
    }
    if (!last_block(counter, gridDim.x, &flag)) return;
    double sum = 0.0;
    int first = 0, second = 0;
    for (int i = threadIdx.x; i < images; i += 256) {
        const int rank = __ldcg(ranks + i);
        sum += (double)__ldcg(losses + i);
        first += rank < top_a;
        second += rank < top_b;
    }
    sums[threadIdx.x] = sum;
    firsts[threadIdx.x] = first;
    seconds[threadIdx.x] = second;
    __syncthreads();
    for (int step = 128; step > 0; step /= 2) {
        if (threadIdx.x < step) {
            sums[threadIdx.x] += sums[threadIdx.x + step];
            firsts[threadIdx.x] += firsts[threadIdx.x + step];
            seconds[threadIdx.x] += seconds[threadIdx.x + step];
        }
        __syncthreads();
    }
    if (threadIdx.x != 0) return;
    if (mean) *mean = (float)(sums[0] / images);
    if (totals) {
        totals->loss += sums[0];
        totals->images += images;
        totals->correct_a += firsts[0];
        totals->correct_b += seconds[0];
    }
}

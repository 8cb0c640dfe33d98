// Dense convolution of few terms, taps × channels, as images' first one is, on the tensor cores with factors rounded to TF32
// (compute capability 8.0 and later): each thread gathers from the input what mma.m16n8k8 wants of it, with neither shared
// memory nor barriers between. No prologue; the filters are a multiple of four.

#define FEW_TERMS 32
// Filters that a block makes, and of whose gradients it makes a part.
#define FEW_FILTERS 64
#define FEW_GRADIENTS 32

// What is rounded to TF32 of a tensor's number. A bfloat16 is one of TF32's.
__device__ __forceinline__ float tensor_tf32(float x) {
#ifdef BF16
    return x;
#else
    return to_tf32(x);
#endif
}

// Where a term lies from a window's first number. One beyond the last term is in no image.
struct Term {
    int row, column, at;
    __device__ __forceinline__ Term() {}
    __device__ __forceinline__ Term(const Window& g, int k) {
        const int tap = k / g.channels, a = tap / g.kernel_width, b = tap % g.kernel_width;
        row = a < g.kernel_height ? a * g.dilation_y : OUTSIDE;
        column = b * g.dilation_x;
        at = (a * g.dilation_y * g.width + column) * g.channels + k % g.channels;
    }
};

// An output pixel, and the next ones.
struct Place {
    int n, i, j;
    __device__ __forceinline__ Place(const Window& g, unsigned int index) {
        j = (int)(index % g.out_width);
        index /= g.out_width;
        i = (int)(index % g.out_height);
        n = (int)(index / g.out_height);
    }
    __device__ __forceinline__ void next(const Window& g) {
        const bool row_ends = ++j == g.out_width;
        j = row_ends ? 0 : j;
        i += row_ends;
        const bool image_ends = i == g.out_height;
        i = image_ends ? 0 : i;
        n += image_ends;
    }
};

// These terms of the pixel's window; 0 beyond the images.
template <int T>
__device__ __forceinline__ void gather(const number* __restrict__ x, const Window& g, const Place& place,
                                       const Term (&terms)[T], float (&to)[T]) {
    const int row = place.n < g.images ? place.i * g.stride_y - g.top : OUTSIDE, column = place.j * g.stride_x - g.left;
    const number* const from = x + (((long long)place.n * g.height + row) * g.width + column) * g.channels;
#pragma unroll
    for (int t = 0; t < T; ++t) {
        const bool inside = (unsigned int)(row + terms[t].row) < (unsigned int)g.height &&
                            (unsigned int)(column + terms[t].column) < (unsigned int)g.width;
        to[t] = inside ? (float)from[terms[t].at] : 0.0f;
    }
}

// A warp makes 32 pixels at a time, four next to each other of each lane's row.
extern "C" __global__ void __launch_bounds__(256, 2)
    convolution_few_tf32(const number* x, const float* w, const float* bias, number* y, Window g) {
    __shared__ __align__(16) float filters[FEW_TERMS * FEW_FILTERS];
    const int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, f0 = blockIdx.y * FEW_FILTERS;
    const int terms = g.kernel_height * g.kernel_width * g.channels;
    // As the lanes take them: [16 filters][8 terms][lane][two products][terms k and k + 4]. The columns of the two products
    // are so dealt that the four sums of a lane and a pixel are of four filters next to each other.
    for (int at = threadIdx.x; at < FEW_TERMS * FEW_FILTERS; at += blockDim.x) {
        const int of = at / 4 % WARP, column = of / 4;
        const int k = at / (4 * WARP) % (FEW_TERMS / 8) * 8 + of % 4 + at % 2 * 4;
        const int f = f0 + at / (16 * FEW_TERMS) * 16 + column / 2 * 4 + at / 2 % 2 * 2 + column % 2;
        filters[at] = k < terms && f < g.filters ? to_tf32(w[(size_t)k * g.filters + f]) : 0.0f;
    }
    Term mine[FEW_TERMS / 4];
#pragma unroll
    for (int t = 0; t < FEW_TERMS / 4; ++t) mine[t] = Term(g, t * 4 + lane % 4);
    __syncthreads();
    const unsigned int pixels = (unsigned int)g.images * g.out_height * g.out_width;
    const int width = min(g.filters - f0, FEW_FILTERS);
    for (unsigned int tile = blockIdx.x * 8 + warp; tile * 32 < pixels; tile += gridDim.x * 8) {
        const unsigned int pixel = tile * 32 + lane / 4 * 4;
        Place place(g, pixel);
        number* const to = y + (size_t)pixel * g.filters + f0 + lane % 4 * 4;
        float read[4][FEW_TERMS / 4];
#pragma unroll
        for (int p = 0; p < 4; ++p) {
            gather(x, g, place, mine, read[p]);
            place.next(g);
        }
#pragma unroll
        for (int p = 0; p < 4; ++p)
#pragma unroll
            for (int t = 0; t < FEW_TERMS / 4; ++t) read[p][t] = tensor_tf32(read[p][t]);
#pragma unroll 1
        for (int first = 0; first < width; first += 16) {
            float sums[2][2][4] = {};
#pragma unroll
            for (int k = 0; k < FEW_TERMS / 8; ++k) {
                const Pack<4> b = load<4>(filters + (first / 16 * (FEW_TERMS / 8) + k) * 4 * WARP + lane * 4);
                const float left[2] = {b.v[0], b.v[1]}, right[2] = {b.v[2], b.v[3]};
#pragma unroll
                for (int m = 0; m < 2; ++m) {
                    const float a[4] = {read[2 * m][2 * k], read[2 * m + 1][2 * k], read[2 * m][2 * k + 1],
                                        read[2 * m + 1][2 * k + 1]};
                    multiply_rounded(sums[m][0], a, left);
                    multiply_rounded(sums[m][1], a, right);
                }
            }
            const int f = first + lane % 4 * 4;
            Pack<4> plus = splat<4>(0.0f);
            if (bias && f < width) {
#pragma unroll
                for (int i = 0; i < 4; ++i) plus.v[i] = bias[f0 + f + i];
            }
#pragma unroll
            for (int p = 0; p < 4; ++p) {
                Pack<4> sum;
#pragma unroll
                for (int i = 0; i < 4; ++i) sum.v[i] = sums[p / 2][i / 2][p % 2 * 2 + i % 2] + plus.v[i];
                if (pixel + p < pixels && f < width) store(to + (size_t)p * g.filters + first, sum);
            }
        }
    }
}

// The gradient of the weight, in parts that `join_parts` joins: blockIdx.x is the part, blockIdx.y picks 32 filters. A warp
// takes 16 pixels at a time, of which a lane reads four next to each other.
extern "C" __global__ void __launch_bounds__(256, 2)
    convolution_weights_few_tf32(const number* x, const number* dy, int pixels_per_part, float* parts, Window g) {
    __shared__ __align__(16) float room[8 * FEW_TERMS * FEW_GRADIENTS];
    const int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, f0 = blockIdx.y * FEW_GRADIENTS;
    const int terms = g.kernel_height * g.kernel_width * g.channels, pixels = g.images * g.out_height * g.out_width;
    const int begin = blockIdx.x * pixels_per_part;
    const int end = pixels - begin < pixels_per_part ? pixels : begin + pixels_per_part;
    Term mine[4];
#pragma unroll
    for (int t = 0; t < 4; ++t) mine[t] = Term(g, t * 8 + lane / 4);
    // Of the filters a lane reads four next to each other, which go to four products.
    const int f = f0 + lane / 4 * 4;
    float sums[2][4][4] = {};
    for (int first = begin + warp * 16; first < end; first += 8 * 16) {
        const int pixel = first + lane % 4 * 4;
        Pack<4> came[4];
#pragma unroll
        for (int p = 0; p < 4; ++p) {
            const bool inside = pixel + p < end && f < g.filters;
            came[p] = inside ? load<4>(dy + (size_t)(pixel + p) * g.filters + f) : splat<4>(0.0f);
        }
        Place place(g, (unsigned int)pixel);
        float read[4][4];
#pragma unroll
        for (int p = 0; p < 4; ++p) {
            gather(x, g, place, mine, read[p]);
            place.next(g);
        }
#pragma unroll
        for (int p = 0; p < 4; p += 2) {
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                const float b[2] = {tensor_tf32(came[p].v[i]), tensor_tf32(came[p + 1].v[i])};
#pragma unroll
                for (int m = 0; m < 2; ++m) {
                    const float a[4] = {tensor_tf32(read[p][2 * m]), tensor_tf32(read[p][2 * m + 1]),
                                        tensor_tf32(read[p + 1][2 * m]), tensor_tf32(read[p + 1][2 * m + 1])};
                    multiply_rounded(sums[m][i], a, b);
                }
            }
        }
    }
    // Over the warps, in their order.
#pragma unroll
    for (int m = 0; m < 2; ++m)
#pragma unroll
        for (int q = 0; q < 4; ++q) {
            const int term = m * 16 + q / 2 * 8 + lane / 4, column = lane % 4 * 8 + q % 2 * 4;
            Pack<4> own;
#pragma unroll
            for (int i = 0; i < 4; ++i) own.v[i] = sums[m][i][q];
            store(room + (warp * FEW_TERMS + term) * FEW_GRADIENTS + column, own);
        }
    __syncthreads();
    const int term = threadIdx.x / 8, column = threadIdx.x % 8 * 4;
    Pack<4> sum = load<4>(room + threadIdx.x * 4);
#pragma unroll
    for (int other = 1; other < 8; ++other) plus<4>(sum, load<4>(room + other * FEW_TERMS * FEW_GRADIENTS + threadIdx.x * 4));
    if (term < terms && f0 + column < g.filters)
        store(parts + ((size_t)blockIdx.x * terms + term) * g.filters + f0 + column, sum);
}

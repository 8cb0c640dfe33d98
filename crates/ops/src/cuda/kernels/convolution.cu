// Dense and grouped convolution as products of matrices that are gathered on the way (implicit GEMM), for where cuDNN is
// not at hand. A block of 256 threads makes a tile of 64 × 64 of the product, 4 × 4 a thread, 16 terms at a time.

#define TILE 64
#define DEPTH 16
#define PITCH (TILE + 4)
// A row that no tap brings into an image.
#define OUTSIDE (-(1 << 29))

// Where a thread of the block puts the r-th of its four numbers of a tile of TILE × DEPTH: consecutive threads take
// consecutive terms (ALONG_K) or consecutive rows.
template <bool ALONG_K> struct Slot {
    int m, k;
    __device__ __forceinline__ explicit Slot(int r) {
        const int t = threadIdx.x;
        m = ALONG_K ? t / DEPTH + r * (256 / DEPTH) : t % TILE;
        k = ALONG_K ? t % DEPTH : t / TILE + r * (256 / TILE);
    }
};

// This thread's numbers of the tiles whose terms begin at k0; 0 beyond the end.
template <class A, class B>
__device__ __forceinline__ void fetch(const A& a, const B& b, int k0, int end, float (&av)[4], float (&bv)[4]) {
#pragma unroll
    for (int r = 0; r < 4; ++r) {
        const int ka = k0 + Slot<A::ALONG_K>(r).k, kb = k0 + Slot<B::ALONG_K>(r).k;
        av[r] = ka < end ? a(r, ka) : 0.0f;
        bv[r] = kb < end ? b(r, kb) : 0.0f;
    }
}

// Sums of the thread's 4 × 4 numbers over the terms first..end. `A` gives a(r, k) for the r-th row of this thread, `B`
// gives b(r, k) likewise; both give 0 outside.
template <class A, class B>
__device__ __forceinline__ void product(const A& a, const B& b, int first, int end, float* room, float (&sums)[4][4]) {
    float* const as = room;
    float* const bs = room + DEPTH * PITCH;
    const int across = threadIdx.x % 16 * 4, down = threadIdx.x / 16 * 4;
#pragma unroll
    for (int i = 0; i < 4; ++i)
#pragma unroll
        for (int j = 0; j < 4; ++j) sums[i][j] = 0.0f;
    float av[4], bv[4];
    fetch(a, b, first, end, av, bv);
    for (int k0 = first; k0 < end; k0 += DEPTH) {
        __syncthreads();
#pragma unroll
        for (int r = 0; r < 4; ++r) {
            const Slot<A::ALONG_K> sa(r);
            const Slot<B::ALONG_K> sb(r);
            as[sa.k * PITCH + sa.m] = av[r];
            bs[sb.k * PITCH + sb.m] = bv[r];
        }
        __syncthreads();
        // The next numbers are on their way while these are multiplied.
        fetch(a, b, k0 + DEPTH, end, av, bv);
#pragma unroll
        for (int k = 0; k < DEPTH; ++k) {
            const Pack<4> x = load<4>(as + k * PITCH + down), y = load<4>(bs + k * PITCH + across);
#pragma unroll
            for (int i = 0; i < 4; ++i)
#pragma unroll
                for (int j = 0; j < 4; ++j) sums[i][j] = fmaf(x.v[i], y.v[j], sums[i][j]);
        }
    }
}

// A pixel's image, row and column.
struct Pixel {
    int n, i, j;
    bool inside;
    __device__ __forceinline__ Pixel(int index, int images, int height, int width) {
        inside = index < images * height * width;
        j = index % width;
        i = index / width % height;
        n = index / width / height;
    }
};

// One number that the convolution reads: x through the prologue.
__device__ __forceinline__ float read_one(const float* x, size_t at, const float* factor, const float* offset, int c,
                                          int with_relu) {
    float value = x[at];
    if (factor) value = fmaf(value, factor[c], offset[c]);
    return with_relu ? relu(value) : value;
}

// Rows of the forward product: output pixels; terms: taps × channels of the group.
struct Gathered {
    static const bool ALONG_K = true;
    const Window& g;
    const float *x, *factor, *offset;
    int with_relu, depth, first, image[4], row[4], column[4];
    __device__ __forceinline__ Gathered(const Window& window, const float* from, const float* f, const float* o, int r,
                                        int m0)
        : g(window), x(from), factor(f), offset(o), with_relu(r), depth(window.channels / window.groups),
          first(blockIdx.z * depth) {
#pragma unroll
        for (int q = 0; q < 4; ++q) {
            const Pixel at(m0 + Slot<true>(q).m, g.images, g.out_height, g.out_width);
            image[q] = at.n * g.height;
            row[q] = at.inside ? at.i * g.stride_y - g.top : OUTSIDE;
            column[q] = at.j * g.stride_x - g.left;
        }
    }
    __device__ __forceinline__ float operator()(int r, int k) const {
        const int tap = k / depth, a = tap / g.kernel_width, b = tap % g.kernel_width;
        const int i = row[r] + a * g.dilation_y, j = column[r] + b * g.dilation_x;
        if (i < 0 || i >= g.height || j < 0 || j >= g.width) return 0.0f;
        const int c = first + k % depth;
        return read_one(x, ((size_t)(image[r] + i) * g.width + j) * g.channels + c, factor, offset, c, with_relu);
    }
};
// Columns of the forward product: the group's filters.
struct Filters {
    static const bool ALONG_K = false;
    const float* w;
    int filters, begin, end;
    __device__ __forceinline__ Filters(const Window& g, const float* from, int first)
        : w(from), filters(g.filters), begin(blockIdx.z * (g.filters / g.groups) + first),
          end((blockIdx.z + 1) * (g.filters / g.groups)) {}
    __device__ __forceinline__ float operator()(int r, int k) const {
        const int f = begin + Slot<false>(r).m;
        return f < end ? w[(size_t)k * filters + f] : 0.0f;
    }
};

extern "C" __global__ void __launch_bounds__(256, 3)
    convolution(const float* x, const float* factor, const float* offset, int with_relu, const float* w, const float* bias,
                float* y, Window g) {
    __shared__ __align__(16) float room[2 * DEPTH * PITCH];
    const int m0 = blockIdx.x * TILE, f0 = blockIdx.y * TILE, depth = g.channels / g.groups, width = g.filters / g.groups;
    float sums[4][4];
    product(Gathered(g, x, factor, offset, with_relu, m0), Filters(g, w, f0), 0,
            g.kernel_height * g.kernel_width * depth, room, sums);
    for (int i = 0; i < 4; ++i) {
        const int m = m0 + threadIdx.x / 16 * 4 + i;
        if (m >= g.images * g.out_height * g.out_width) break;
        for (int j = 0; j < 4; ++j) {
            const int f = f0 + threadIdx.x % 16 * 4 + j;
            if (f >= width) break;
            const int filter = blockIdx.z * width + f;
            y[(size_t)m * g.filters + filter] = sums[i][j] + (bias ? bias[filter] : 0.0f);
        }
    }
}

// Rows of the input gradient's product: input pixels; terms: taps × filters of the group.
struct Scattered {
    static const bool ALONG_K = true;
    const Window& g;
    const float* dy;
    int width, first, image[4], row[4], column[4];
    __device__ __forceinline__ Scattered(const Window& window, const float* from, int m0)
        : g(window), dy(from), width(window.filters / window.groups), first(blockIdx.z * width) {
#pragma unroll
        for (int q = 0; q < 4; ++q) {
            const Pixel at(m0 + Slot<true>(q).m, g.images, g.height, g.width);
            image[q] = at.n * g.out_height;
            row[q] = at.inside ? at.i + g.top : OUTSIDE;
            column[q] = at.j + g.left;
        }
    }
    __device__ __forceinline__ float operator()(int r, int k) const {
        const int tap = k / width, a = tap / g.kernel_width, b = tap % g.kernel_width;
        const int down = row[r] - a * g.dilation_y, right = column[r] - b * g.dilation_x;
        if (down < 0 || right < 0) return 0.0f;
        const int i = down / g.stride_y, j = right / g.stride_x;
        if (i * g.stride_y != down || j * g.stride_x != right || i >= g.out_height || j >= g.out_width) return 0.0f;
        return dy[((size_t)(image[r] + i) * g.out_width + j) * g.filters + first + k % width];
    }
};
// Columns of the input gradient's product: the group's channels.
struct Turned {
    static const bool ALONG_K = true;
    const float* w;
    int filters, width, depth, first;
    __device__ __forceinline__ Turned(const Window& g, const float* from, int c0)
        : w(from), filters(g.filters), width(g.filters / g.groups), depth(g.channels / g.groups), first(c0) {}
    __device__ __forceinline__ float operator()(int r, int k) const {
        const int c = first + Slot<true>(r).m;
        if (c >= depth) return 0.0f;
        return w[((size_t)(k / width) * depth + c) * filters + blockIdx.z * width + k % width];
    }
};

// With `x`, only what a ReLU after factor and offset let through.
extern "C" __global__ void __launch_bounds__(256, 3)
    convolution_input(const float* dy, const float* w, const float* x, const float* factor, const float* offset, float* dx,
                      int add, Window g) {
    __shared__ __align__(16) float room[2 * DEPTH * PITCH];
    const int m0 = blockIdx.x * TILE, c0 = blockIdx.y * TILE, depth = g.channels / g.groups, width = g.filters / g.groups;
    float sums[4][4];
    product(Scattered(g, dy, m0), Turned(g, w, c0), 0, g.kernel_height * g.kernel_width * width, room, sums);
    for (int i = 0; i < 4; ++i) {
        const int m = m0 + threadIdx.x / 16 * 4 + i;
        if (m >= g.images * g.height * g.width) break;
        for (int j = 0; j < 4; ++j) {
            const int local = c0 + threadIdx.x % 16 * 4 + j;
            if (local >= depth) break;
            const int c = blockIdx.z * depth + local;
            const size_t at = (size_t)m * g.channels + c;
            Pack<1> value;
            value.v[0] = sums[i][j];
            if (x) value = Prologue<1>(factor, offset, c, 0).gate(load<1>(x + at), value);
            put<1>(dx + at, value, add);
        }
    }
}

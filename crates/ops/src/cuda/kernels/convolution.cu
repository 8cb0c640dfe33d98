// Dense and grouped convolution as products of matrices that are gathered on the way (implicit GEMM), for where cuDNN is
// not at hand. A block of 256 threads makes a tile of 64 × 64 of the product, 16 numbers a thread, 16 terms at a time: in fp32, or
// on the tensor cores with factors rounded to TF32 (compute capability 8.0 and later).

#define TILE 64
#define DEPTH 16
#define PITCH (TILE + 8)
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

#ifndef EMULATED
// To the nearest number of TF32's 10 binary places.
__device__ __forceinline__ float to_tf32(float x) {
#if __CUDA_ARCH__ >= 800
    unsigned int bits;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(x));
    x = __uint_as_float(bits);
#endif
    return x;
}
// c += a · b on the tensor cores, of numbers that are rounded: of others it drops the places beyond. mma.m16n8k8 of the PTX
// manual, which says which lane holds which numbers.
__device__ __forceinline__ void multiply_rounded(float (&c)[4], const float (&a)[4], const float (&b)[2]) {
#if __CUDA_ARCH__ >= 800
    asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(__float_as_uint(a[0])), "r"(__float_as_uint(a[1])), "r"(__float_as_uint(a[2])), "r"(__float_as_uint(a[3])),
          "r"(__float_as_uint(b[0])), "r"(__float_as_uint(b[1])));
#else
    __trap();
#endif
}
// c += a · b of numbers of bfloat16, two terms in a word, the earlier one in its lower half: mma.m16n8k16.
__device__ __forceinline__ void multiply_bf16(float (&c)[4], const unsigned int (&a)[4], const unsigned int (&b)[2]) {
#if __CUDA_ARCH__ >= 800
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
    __trap();
#endif
}
// Four matrices of eight rows of 16 bytes from shared memory. A lane has the address of row lane % 8 of matrix lane / 8, and
// gets of each matrix word lane % 4 of row lane / 4.
__device__ __forceinline__ void load_matrices(unsigned int (&to)[4], const void* row) {
#if __CUDA_ARCH__ >= 800
    const unsigned int at = (unsigned int)__cvta_generic_to_shared(row);
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                 : "r"(at));
#else
    __trap();
#endif
}
// The same turned, of numbers of two bytes: of each matrix what lies in rows lane % 4 · 2 and the next, in column lane / 4.
__device__ __forceinline__ void load_turned(unsigned int (&to)[4], const void* row) {
#if __CUDA_ARCH__ >= 800
    const unsigned int at = (unsigned int)__cvta_generic_to_shared(row);
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                 : "r"(at));
#else
    __trap();
#endif
}
// A matrix of eight rows of eight numbers of two bytes, of which a lane has the two of word lane % 4 of row lane / 4, turned: it
// gets those that load_turned gives of it.
__device__ __forceinline__ unsigned int turned(unsigned int word) {
#if __CUDA_ARCH__ >= 800
    unsigned int to;
    asm volatile("movmatrix.sync.aligned.m8n8.trans.b16 %0, %1;" : "=r"(to) : "r"(word));
    return to;
#else
    __trap();
    return word;
#endif
}
#endif
// The same of any numbers. To round one takes two instructions: where a number goes into several products, round it once.
__device__ __forceinline__ void multiply_tf32(float (&c)[4], const float (&a)[4], const float (&b)[2]) {
    const float x[4] = {to_tf32(a[0]), to_tf32(a[1]), to_tf32(a[2]), to_tf32(a[3])};
    const float y[2] = {to_tf32(b[0]), to_tf32(b[1])};
    multiply_rounded(c, x, y);
}

// Where the thread's number (i, j) of the tile lies.
template <bool TF32> struct Cell {
    int row, column;
    __device__ __forceinline__ Cell(int i, int j) {
        const int t = threadIdx.x, lane = t % WARP, warp = t / WARP;
        // On the tensor cores a warp makes 16 rows and four times 8 columns.
        row = TF32 ? warp % 4 * 16 + lane / 4 + (j >= 2 ? 8 : 0) : t / 16 * 4 + i;
        column = TF32 ? warp / 4 * 32 + i * 8 + lane % 4 * 2 + j % 2 : t % 16 * 4 + j;
    }
};

// The products of DEPTH terms, which lie in shared memory.
template <bool TF32>
__device__ __forceinline__ void multiply(const float* as, const float* bs, float (&sums)[4][4]) {
    if (TF32) {
        const int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
        const float* const down = as + lane % 4 * PITCH + warp % 4 * 16 + lane / 4;
        const float* const across = bs + lane % 4 * PITCH + warp / 4 * 32 + lane / 4;
#pragma unroll
        for (int k = 0; k < DEPTH; k += 8) {
            const float a[4] = {down[k * PITCH], down[k * PITCH + 8], down[(k + 4) * PITCH], down[(k + 4) * PITCH + 8]};
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                const float b[2] = {across[k * PITCH + i * 8], across[(k + 4) * PITCH + i * 8]};
                multiply_tf32(sums[i], a, b);
            }
        }
    } else {
        const int down = threadIdx.x / 16 * 4, across = threadIdx.x % 16 * 4;
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

// The thread's 16 sums over the terms first..end; see `Cell`. `A` gives a(r, k) for the r-th row of this thread, `B` gives
// b(r, k) likewise; both give 0 outside.
template <bool TF32, class A, class B>
__device__ __forceinline__ void product(const A& a, const B& b, int first, int end, float* room, float (&sums)[4][4]) {
    float* const as = room;
    float* const bs = room + DEPTH * PITCH;
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
        multiply<TF32>(as, bs, sums);
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
__device__ __forceinline__ float read_one(const number* x, size_t at, const float* factor, const float* offset, int c,
                                          int with_relu) {
    float value = x[at];
    if (factor) value = fmaf(value, factor[c], offset[c]);
    return with_relu ? relu(value) : value;
}

// Rows of the forward product: output pixels; terms: taps × channels of the group.
struct Gathered {
    static const bool ALONG_K = true;
    const Window& g;
    const number* x;
    const float *factor, *offset;
    int with_relu, depth, first, image[4], row[4], column[4];
    __device__ __forceinline__ Gathered(const Window& window, const number* from, const float* f, const float* o, int r,
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

template <bool TF32>
__device__ __forceinline__ void convolve(const number* x, const float* factor, const float* offset, int with_relu,
                                         const float* w, const float* bias, number* y, const Window& g, float* room) {
    const int m0 = blockIdx.x * TILE, f0 = blockIdx.y * TILE, depth = g.channels / g.groups, width = g.filters / g.groups;
    const int pixels = g.images * g.out_height * g.out_width;
    float sums[4][4];
    product<TF32>(Gathered(g, x, factor, offset, with_relu, m0), Filters(g, w, f0), 0,
                  g.kernel_height * g.kernel_width * depth, room, sums);
#pragma unroll
    for (int i = 0; i < 4; ++i) {
#pragma unroll
        for (int j = 0; j < 4; ++j) {
            const Cell<TF32> cell(i, j);
            const int m = m0 + cell.row, f = f0 + cell.column, filter = blockIdx.z * width + f;
            if (m >= pixels || f >= width) continue;
            y[(size_t)m * g.filters + filter] = (number)(sums[i][j] + (bias ? bias[filter] : 0.0f));
        }
    }
}

// Rows of the input gradient's product: input pixels; terms: taps × filters of the group.
struct Scattered {
    static const bool ALONG_K = true;
    const Window& g;
    const number* dy;
    int width, first, image[4], row[4], column[4];
    __device__ __forceinline__ Scattered(const Window& window, const number* from, int m0)
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
template <bool TF32>
__device__ __forceinline__ void convolve_back(const number* dy, const float* w, const number* x, const float* factor,
                                              const float* offset, number* dx, int add, const Window& g, float* room) {
    const int m0 = blockIdx.x * TILE, c0 = blockIdx.y * TILE, depth = g.channels / g.groups, width = g.filters / g.groups;
    const int pixels = g.images * g.height * g.width;
    float sums[4][4];
    product<TF32>(Scattered(g, dy, m0), Turned(g, w, c0), 0, g.kernel_height * g.kernel_width * width, room, sums);
#pragma unroll
    for (int i = 0; i < 4; ++i) {
#pragma unroll
        for (int j = 0; j < 4; ++j) {
            const Cell<TF32> cell(i, j);
            const int m = m0 + cell.row, local = c0 + cell.column, c = blockIdx.z * depth + local;
            if (m >= pixels || local >= depth) continue;
            const size_t at = (size_t)m * g.channels + c;
            Pack<1> value = splat<1>(sums[i][j]);
            if (x) value = Prologue<1>(factor, offset, c, 0).gate(load<1>(x + at), value);
            put<1>(dx + at, value, add);
        }
    }
}

#define CONVOLUTION(SUFFIX, TF32)                                                                                        \
    extern "C" __global__ void __launch_bounds__(256, 3)                                                                 \
        convolution##SUFFIX(const number* x, const float* factor, const float* offset, int with_relu, const float* w,    \
                            const float* bias, number* y, Window g) {                                                    \
        __shared__ __align__(16) float room[2 * DEPTH * PITCH];                                                          \
        convolve<TF32>(x, factor, offset, with_relu, w, bias, y, g, room);                                               \
    }                                                                                                                    \
    extern "C" __global__ void __launch_bounds__(256, 3)                                                                 \
        convolution_input##SUFFIX(const number* dy, const float* w, const number* x, const float* factor,                \
                                  const float* offset, number* dx, int add, Window g) {                                  \
        __shared__ __align__(16) float room[2 * DEPTH * PITCH];                                                          \
        convolve_back<TF32>(dy, w, x, factor, offset, dx, add, g, room);                                                 \
    }
CONVOLUTION(, false)
CONVOLUTION(_tf32, true)

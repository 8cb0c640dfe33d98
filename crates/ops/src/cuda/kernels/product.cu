// Products of matrices with many rows and few columns, on the tensor cores with factors rounded to TF32 (compute
// capability 8.0 and later).

// A weight's gradient, c = prologue(a)ᵀ · b for a of rows × m and b of rows × n numbers. Every block sums some rows of a tile of
// SIDE × SIDE numbers, each of its eight warps other rows; `join_parts` joins the blocks' sums.
#define SIDE 32
// Between the rows of a warp's tile in shared memory: 8 more keep the warp's lanes in different banks.
#define TILE_PITCH (SIDE + 8)
#define WARPS 8

// blockIdx.x is the tile, across first; blockIdx.y the part of the rows.
extern "C" __global__ void __launch_bounds__(256, 2)
    product_weights_tf32(const number* __restrict__ a, const float* factor, const float* offset, int with_relu,
                         const number* __restrict__ b, int rows, int m, int n, int rows_per_part, float* parts) {
    __shared__ __align__(16) float room[WARPS * SIDE * TILE_PITCH];
    const int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, group = lane / 4, within = lane % 4;
    const int across = (n + SIDE - 1) / SIDE, m0 = blockIdx.x / across * SIDE, n0 = blockIdx.x % across * SIDE;
    const int first = blockIdx.y * rows_per_part, end = rows - first < rows_per_part ? rows : first + rows_per_part;
    float sums[2][4][4];
    bool down_inside[4], across_inside[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
        down_inside[i] = m0 + i * 8 + group < m;
        across_inside[i] = n0 + i * 8 + group < n;
#pragma unroll
        for (int j = 0; j < 4; ++j) sums[0][i][j] = sums[1][i][j] = 0.0f;
    }
    float scale[4], shift[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
        scale[i] = factor && down_inside[i] ? factor[m0 + i * 8 + group] : 1.0f;
        shift[i] = factor && down_inside[i] ? offset[m0 + i * 8 + group] : 0.0f;
    }
#pragma unroll 2
    for (int row = first + warp * 8; row < end; row += WARPS * 8) {
        // Four times eight columns of a and of b, of the rows `within` and `within + 4`.
        float down[4][2], beside[4][2];
#pragma unroll
        for (int k = 0; k < 2; ++k) {
            const int at = row + within + 4 * k;
            const bool real = at < end;
            const number* const from_a = a + (size_t)at * m + m0 + group;
            const number* const from_b = b + (size_t)at * n + n0 + group;
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                float value = real && down_inside[i] ? (float)from_a[i * 8] : 0.0f;
                if (factor && real) value = fmaf(value, scale[i], shift[i]);
                down[i][k] = with_relu ? relu(value) : value;
                beside[i][k] = real && across_inside[i] ? (float)from_b[i * 8] : 0.0f;
            }
        }
#pragma unroll
        for (int i = 0; i < 2; ++i) {
            const float x[4] = {down[2 * i][0], down[2 * i + 1][0], down[2 * i][1], down[2 * i + 1][1]};
#pragma unroll
            for (int j = 0; j < 4; ++j) multiply_tf32(sums[i][j], x, beside[j]);
        }
    }
    float* const own = room + warp * SIDE * TILE_PITCH;
#pragma unroll
    for (int i = 0; i < 2; ++i) {
#pragma unroll
        for (int j = 0; j < 4; ++j) {
            float* const at = own + (i * 16 + group) * TILE_PITCH + j * 8 + within * 2;
            at[0] = sums[i][j][0];
            at[1] = sums[i][j][1];
            at[8 * TILE_PITCH] = sums[i][j][2];
            at[8 * TILE_PITCH + 1] = sums[i][j][3];
        }
    }
    __syncthreads();
    float* const part = parts + (size_t)blockIdx.y * m * n;
#pragma unroll
    for (int place = threadIdx.x; place < SIDE * SIDE; place += 256) {
        const int i = place / SIDE, j = place % SIDE;
        if (m0 + i >= m || n0 + j >= n) continue;
        float sum = 0.0f;
#pragma unroll
        for (int w = 0; w < WARPS; ++w) sum += room[(w * SIDE + i) * TILE_PITCH + j];
        part[(size_t)(m0 + i) * n + n0 + j] = sum;
    }
}

// y = or += prologue(x) · w for x of rows × k numbers and w of k × n or, transposed, of n × k numbers; 4 divides k and n. A
// block makes `down` times 16 rows and `width` ≤ COLUMNS columns: so many of its eight warps lie below each other, and
// each of them takes 16 rows and `per_warp` columns.
#define COLUMNS 64
// Terms that are in shared memory at a time, and the numbers between two of them, which keep a warp's lanes in different banks.
#define SLAB_TERMS 32
#define TERM_PITCH (COLUMNS + 2)

struct __align__(8) Tiles {
    int rows, k, n;
    int down, width, per_warp;
    int heights, unused;  // So many times below each other, for statistics.
};

// What a thread makes: of J times eight columns two each, in two rows.
template <int J> struct Made {
    float sums[J][4];
    int row, column;  // the first row; the first column within the block's
    __device__ __forceinline__ int row_of(int r) const { return row + r * 8; }
    __device__ __forceinline__ int column_of(int j) const { return column + j * 8; }
};

// Of 16 terms a lane has four that follow each other, in two rows; so of SLAB_TERMS.
struct Lines {
    Pack<4> of[2][2];
    __device__ __forceinline__ void fetch(const number* __restrict__ x, const Tiles& t, int row, int k0, int within) {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            const int term = k0 + half * 16 + within * 4;
#pragma unroll
            for (int r = 0; r < 2; ++r) {
                const bool real = term < t.k && row + r * 8 < t.rows;
                of[half][r] = real ? load<4>(x + ((row + r * 8) * t.k + term)) : splat<4>(0.0f);
            }
        }
    }
    // What there is goes through the prologue; what is not there stays 0.
    __device__ __forceinline__ void apply(const float* factor, const float* offset, int with_relu, const Tiles& t, int row,
                                          int k0, int within) {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            const int term = k0 + half * 16 + within * 4;
            if (term >= t.k) break;
            const Prologue<4> prologue(factor, offset, term, with_relu);
#pragma unroll
            for (int r = 0; r < 2; ++r)
                if (row + r * 8 < t.rows) of[half][r] = prologue.of(of[half][r]);
        }
    }
};

// The SLAB_TERMS of w from k0 on, by four: of 256 threads each has two.
struct Slab {
    Pack<4> of[2];
    // Consecutive threads read consecutive numbers. The first term and the first column of the i-th four.
    static __device__ __forceinline__ int term(int i, int transposed) {
        const int place = threadIdx.y * blockDim.x + threadIdx.x + i * 256;
        return transposed ? place % (SLAB_TERMS / 4) * 4 : place / (COLUMNS / 4);
    }
    static __device__ __forceinline__ int column(int i, int transposed) {
        const int place = threadIdx.y * blockDim.x + threadIdx.x + i * 256;
        return transposed ? place / (SLAB_TERMS / 4) : place % (COLUMNS / 4) * 4;
    }
    __device__ __forceinline__ void fetch(const float* __restrict__ w, const Tiles& t, int n0, int k0, int transposed) {
#pragma unroll
        for (int i = 0; i < 2; ++i) {
            const int l = k0 + term(i, transposed), c = column(i, transposed);
            const bool real = l < t.k && c < t.width && n0 + c < t.n;
            const int at = transposed ? (n0 + c) * t.k + l : l * t.n + n0 + c;
            of[i] = real ? load<4>(w + at) : splat<4>(0.0f);
        }
    }
    __device__ __forceinline__ void put(float* room, int width, int transposed) const {
#pragma unroll
        for (int i = 0; i < 2; ++i) {
            const int l = term(i, transposed), c = column(i, transposed);
            if (c >= width) continue;
#pragma unroll
            for (int v = 0; v < 4; ++v) room[transposed ? (l + v) * TERM_PITCH + c : l * TERM_PITCH + c + v] = of[i].v[v];
        }
    }
};

template <int J>
__device__ __forceinline__ void tall_product(const number* __restrict__ x, const float* factor, const float* offset,
                                             int with_relu, const float* __restrict__ w, int transposed, const Tiles& t,
                                             int block, float* room, Made<J>& made) {
    const int thread = threadIdx.y * blockDim.x + threadIdx.x;
    const int lane = thread % WARP, warp = thread / WARP, group = lane / 4, within = lane % 4;
    const int n0 = blockIdx.y * t.width;
    made.row = (block * t.down + warp % t.down) * 16 + group;
    made.column = warp / t.down * t.per_warp + within * 2;
    const int first = warp / t.down * t.per_warp;
#pragma unroll
    for (int j = 0; j < J; ++j)
#pragma unroll
        for (int i = 0; i < 4; ++i) made.sums[j][i] = 0.0f;
    Lines lines;
    Slab slab;
    lines.fetch(x, t, made.row, 0, within);
    slab.fetch(w, t, n0, 0, transposed);
    for (int k0 = 0; k0 < t.k; k0 += SLAB_TERMS) {
        __syncthreads();
        slab.put(room, t.width, transposed);
        __syncthreads();
        Lines now = lines;
        now.apply(factor, offset, with_relu, t, made.row, k0, within);
        // The next ones are on their way meanwhile.
        if (k0 + SLAB_TERMS < t.k) {
            lines.fetch(x, t, made.row, k0 + SLAB_TERMS, within);
            slab.fetch(w, t, n0, k0 + SLAB_TERMS, transposed);
        }
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            if (k0 + half * 16 >= t.k) break;
#pragma unroll
            for (int s = 0; s < 2; ++s) {
                const Pack<4>&top = now.of[half][0], &below = now.of[half][1];
                const float a[4] = {top.v[2 * s], below.v[2 * s], top.v[2 * s + 1], below.v[2 * s + 1]};
                const float* const term = room + (half * 16 + within * 4 + 2 * s) * TERM_PITCH + first + group;
#pragma unroll
                for (int j = 0; j < J; ++j) {
                    // What lies beyond the block's columns is computed all the same, of whatever is in the room there, and goes
                    // nowhere: a warp that has to ask its lanes for each of these would do them one after the other.
                    if (j * 8 >= t.per_warp) break;
                    const float b[2] = {term[j * 8], term[TERM_PITCH + j * 8]};
                    multiply_tf32(made.sums[j], a, b);
                }
            }
        }
    }
}

// Calls it(j, r, row, column) for the pairs of numbers of this thread that are there; `column` is that of the first.
template <int J, class F> __device__ __forceinline__ void each_pair(const Tiles& t, const Made<J>& made, F it) {
#pragma unroll
    for (int j = 0; j < J; ++j) {
        if (j * 8 >= t.per_warp) break;
        const int column = made.column_of(j);
        if (column >= t.width || blockIdx.y * t.width + column >= t.n) break;
#pragma unroll
        for (int r = 0; r < 2; ++r)
            if (made.row_of(r) < t.rows) it(j, r, made.row_of(r), blockIdx.y * t.width + column);
    }
}

template <class N> __device__ __forceinline__ void put_pair(N* to, float2 value, int add) { put<2>(to, pack(value), add); }

// Kernels for warps of up to 16 and up to 64 columns: with fewer there is room for more of them at once.
#define PRODUCT(NAME, J, BLOCKS)                                                                                         \
    extern "C" __global__ void __launch_bounds__(256, BLOCKS)                                                            \
        NAME(const number* __restrict__ x, const float* factor, const float* offset, int with_relu,                      \
             const float* __restrict__ w, int transposed, number* y, int add, Tiles t) {                                 \
        __shared__ float room[SLAB_TERMS * TERM_PITCH];                                                                  \
        Made<J> made;                                                                                                    \
        tall_product(x, factor, offset, with_relu, w, transposed, t, blockIdx.x, room, made);                            \
        each_pair(t, made, [&](int j, int r, int row, int column) {                                                      \
            put_pair(y + (row * t.n + column), make_float2(made.sums[j][2 * r], made.sums[j][2 * r + 1]), add);          \
        });                                                                                                              \
    }
PRODUCT(product_tf32_16, 2, 3)
PRODUCT(product_tf32_64, 8, 2)

// The sum over the lanes of a warp that have the same columns.
__device__ __forceinline__ float over_rows(float x) {
#pragma unroll
    for (int lane = 4; lane < WARP; lane *= 2) x += __shfl_xor_sync(ALL_LANES, x, lane);
    return x;
}

// A product, and batch norm's statistics of it: see batch_norm_statistics. parts: [blocks of rows][mean, squared deviations
// from it][columns].
template <int J>
__device__ __forceinline__ void product_statistics(const number* __restrict__ x, const float* factor, const float* offset,
                                                   int with_relu, const float* __restrict__ w, number* y, const Tiles& t,
                                                   float* parts, unsigned int* counters, const Norm& norm,
                                                   const Normaliser& to, float* room, double* wide, unsigned int* flag) {
    const int thread = threadIdx.y * blockDim.x + threadIdx.x, lane = thread % WARP, warp = thread / WARP;
    const int n0 = blockIdx.y * t.width;
    // Of this thread's column: rows, mean, squared deviations from it.
    float count = 0.0f, mean = 0.0f, squares = 0.0f;
    for (int height = 0; height < t.heights; ++height) {
        const int block = blockIdx.x * t.heights + height, first_row = block * t.down * 16;
        if (first_row >= t.rows) break;
        Made<J> made;
        tall_product(x, factor, offset, with_relu, w, 0, t, block, room, made);
        each_pair(t, made, [&](int j, int r, int row, int column) {
            put_pair(y + (row * t.n + column), make_float2(made.sums[j][2 * r], made.sums[j][2 * r + 1]), 0);
        });

        // First of each warp's rows, of which those beyond the end are 0.
        const auto rows_of = [&](int place) {
            const int left = t.rows - (first_row + place * 16);
            return left < 0 ? 0 : left < 16 ? left : 16;
        };
        const int own_rows = rows_of(warp % t.down);
        const float part_of_row = 1.0f / (float)(own_rows > 0 ? own_rows : 1);
        __syncthreads();
#pragma unroll
        for (int j = 0; j < J; ++j) {
            if (j * 8 >= t.per_warp) break;
#pragma unroll
            for (int i = 0; i < 2; ++i) {
                const float top = made.sums[j][i], below = made.sums[j][2 + i];
                const float average = over_rows(top + below) * part_of_row;
                const float above = made.row_of(0) < t.rows ? top - average : 0.0f;
                const float under = made.row_of(1) < t.rows ? below - average : 0.0f;
                const float deviations = over_rows(fmaf(above, above, under * under));
                const int column = made.column_of(j) + i;
                if (lane < 4 && column < t.width) {
                    room[warp % t.down * 2 * COLUMNS + column] = average;
                    room[(warp % t.down * 2 + 1) * COLUMNS + column] = deviations;
                }
            }
        }
        __syncthreads();
        // Then of what the thread has so far and of each warp's: Chan, Golub and LeVeque 1979.
        if (thread >= t.width || n0 + thread >= t.n) continue;
        for (int place = 0; place < t.down; ++place) {
            const float here = (float)rows_of(place), delta = room[place * 2 * COLUMNS + thread] - mean;
            if (here == 0.0f) break;
            const float share = here / (count + here);
            squares += fmaf(delta * delta, count * share, room[(place * 2 + 1) * COLUMNS + thread]);
            mean = fmaf(delta, share, mean);
            count += here;
        }
    }
    if (thread < t.width && n0 + thread < t.n) {
        float* const part = parts + (size_t)blockIdx.x * 2 * t.n + n0 + thread;
        part[0] = mean;
        part[t.n] = squares;
    }
    if (!last_block(counters + blockIdx.y, gridDim.x, flag)) return;
    for (int c = 0; c < t.width; c += blockDim.x * 4) {
        join_statistics<4>(parts, gridDim.x, t.down * 16 * t.heights, t.rows, n0 + c, t.n, norm, to, room, wide);
        __syncthreads();
    }
}
#define PRODUCT_STATISTICS(NAME, J, BLOCKS)                                                                              \
    extern "C" __global__ void __launch_bounds__(256, BLOCKS)                                                            \
        NAME(const number* __restrict__ x, const float* factor, const float* offset, int with_relu,                      \
             const float* __restrict__ w, number* y, Tiles t, float* parts, unsigned int* counters, const float* scale,  \
             const float* shift, float* running_mean, float* running_variance, double momentum, double epsilon,          \
             float* mean, float* inverse, float* norm_factor, float* norm_offset) {                                      \
        __shared__ __align__(16) float room[SLAB_TERMS * TERM_PITCH];                                                    \
        __shared__ double wide[2 * 4 * SUM_ROOM];                                                                        \
        __shared__ unsigned int flag;                                                                                    \
        const Normaliser to = {mean, inverse, norm_factor, norm_offset};                                                 \
        const Norm norm = {scale, shift, running_mean, running_variance, momentum, epsilon};                             \
        product_statistics<J>(x, factor, offset, with_relu, w, y, t, parts, counters, norm, to, room, wide, &flag);      \
    }
// With the registers of a third block it spills on compute capabilities 10.0 to 11.0.
#if __CUDA_ARCH__ >= 1000 && __CUDA_ARCH__ < 1200
PRODUCT_STATISTICS(product_statistics_tf32_16, 2, 2)
#else
PRODUCT_STATISTICS(product_statistics_tf32_16, 2, 3)
#endif
PRODUCT_STATISTICS(product_statistics_tf32_64, 8, 2)

// dx = or += dy · wᵀ where a ReLU let x · factor + offset through, for dy of rows × k and w of n × k numbers: what a pointwise
// convolution with a ReLU before it gives its input.
extern "C" __global__ void __launch_bounds__(256, 2)
    product_input_tf32(const number* __restrict__ dy, const float* __restrict__ w, const number* x, const float* factor,
                       const float* offset, number* dx, int add, Tiles t) {
    __shared__ float room[SLAB_TERMS * TERM_PITCH];
    Made<8> made;
    tall_product(dy, nullptr, nullptr, 0, w, 1, t, blockIdx.x, room, made);
    each_pair(t, made, [&](int j, int r, int row, int column) {
        const Pack<2> before = load<2>(x + (row * t.n + column));
        float2 value = make_float2(made.sums[j][2 * r], made.sums[j][2 * r + 1]);
        if (!((factor ? fmaf(before.v[0], factor[column], offset[column]) : before.v[0]) > 0.0f)) value.x = 0.0f;
        if (!((factor ? fmaf(before.v[1], factor[column + 1], offset[column + 1]) : before.v[1]) > 0.0f)) value.y = 0.0f;
        put_pair(dx + (row * t.n + column), value, add);
    });
}

// Products of matrices with many rows and few columns, on the tensor cores with factors rounded to TF32, or to bfloat16 where
// tensors are in it (compute capability 8.0 and later).

// Sixteen terms of two rows as a lane has them: four of each. Of the other factor it has the same terms of a column, `Four`. Those
// lie in shared memory by 16 terms and 16 columns, and of these the even columns and the odd ones.
#ifdef BF16
struct RowTerms { unsigned int of[4]; };
__device__ __forceinline__ RowTerms to_terms(const Pack<4>& upper, const Pack<4>& lower) {
    return {{bf16_pair(upper.v[0], upper.v[1]), bf16_pair(lower.v[0], lower.v[1]), bf16_pair(upper.v[2], upper.v[3]),
             bf16_pair(lower.v[2], lower.v[3])}};
}
__device__ __forceinline__ Four to_factors(const Pack<4>& p) { return to_four(p); }
__device__ __forceinline__ int factors_at(int piece, int odd, int lane) { return (piece * WARP + lane) * 2 + odd; }
__device__ __forceinline__ void load_factors(const Four* from, int piece, int lane, Four (&to)[2]) {
    const uint4 q = *reinterpret_cast<const uint4*>(from + factors_at(piece, 0, lane));
    to[0] = make_uint2(q.x, q.y);
    to[1] = make_uint2(q.z, q.w);
}
// c += a · b.
__device__ __forceinline__ void multiply_terms(float (&c)[4], const RowTerms& a, const Four& b) {
    const unsigned int beside[2] = {b.x, b.y};
    multiply_bf16(c, a.of, beside);
}
#else
struct RowTerms { Pack<4> of[2]; };
__device__ __forceinline__ RowTerms to_terms(const Pack<4>& upper, const Pack<4>& lower) {
    RowTerms terms;
#pragma unroll
    for (int v = 0; v < 4; ++v) {
        terms.of[0].v[v] = to_tf32(upper.v[v]);
        terms.of[1].v[v] = to_tf32(lower.v[v]);
    }
    return terms;
}
__device__ __forceinline__ Four to_factors(const Pack<4>& p) {
    return make_float4(to_tf32(p.v[0]), to_tf32(p.v[1]), to_tf32(p.v[2]), to_tf32(p.v[3]));
}
__device__ __forceinline__ int factors_at(int piece, int odd, int lane) { return (piece * 2 + odd) * WARP + lane; }
__device__ __forceinline__ void load_factors(const Four* from, int piece, int lane, Four (&to)[2]) {
#pragma unroll
    for (int odd = 0; odd < 2; ++odd) to[odd] = from[factors_at(piece, odd, lane)];
}
// c += a · b.
__device__ __forceinline__ void multiply_terms(float (&c)[4], const RowTerms& a, const Four& b) {
    const float down[2][4] = {{a.of[0].v[0], a.of[1].v[0], a.of[0].v[1], a.of[1].v[1]},
                              {a.of[0].v[2], a.of[1].v[2], a.of[0].v[3], a.of[1].v[3]}};
    const float beside[2][2] = {{b.x, b.y}, {b.z, b.w}};
#pragma unroll
    for (int s = 0; s < 2; ++s) multiply_rounded(c, down[s], beside[s]);
}
#endif

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

// y = or += prologue(x) · w for x of rows × k numbers and w of k × n or, transposed, of n × k; 4 divides k and n. A block makes
// C columns, with w's terms of them in shared memory; its eight warps go down the rows without waiting for each other, unless w
// has more terms than there is room for.
struct __align__(8) Tiles {
    int rows, k, n;
    int steps;  // So many times a block makes Cut::ROWS rows, one below the other.
};

// Numbers of w that are in shared memory at a time.
#define W_ROOM 8192

// How a block is cut for C columns: in width by warps that make J times eight of them, of which a lane has FOURS times four in
// a row, and in height by DOWN warps that take M times 16 rows. They read 16 · HALVES terms of x at a time, the next ones while
// they multiply these: as many as there are registers for, which bfloat16 takes half as many of; with twice as many fits compute
// capability 9.0's code alone.
#if defined(BF16) && (!defined(__CUDA_ARCH__) || __CUDA_ARCH__ == 900)
#define MORE_HALVES 2
#else
#define MORE_HALVES 1
#endif
template <int C> struct Cut {
    static const int M = C == 64 ? 1 : 2;
    static const int HALVES = C == 16 ? 1 : C == 32 ? MORE_HALVES : 2 * MORE_HALVES, SLAB = 16 * HALVES;
    static const int J = C == 16 ? 2 : 4, FOURS = J / 2, DOWN = WARPS * J * 8 / C;
    static const int ROWS = DOWN * M * 16;  // of a block at a time
    static const int HELD = W_ROOM / C;     // terms of w that are in shared memory at a time
};

// Some terms of w, rounded, and of the prologue, which is 1 and 0 where there is none.
template <int C> struct Weights {
    // A lane has four columns in a row of what even and odd ones make.
    Four w[W_ROOM / 4];
    float factor[Cut<C>::HELD], offset[Cut<C>::HELD];

    // Those from k0 on, as many as there is room for, and 0 for the rest of a slab and of the columns.
    template <bool TRANSPOSED>
    __device__ __forceinline__ void fill(const float* __restrict__ from, const float* factors, const float* offsets,
                                         const Tiles& t, int n0, int k0, int thread) {
        const int lane = thread % WARP, group = lane / 4, within = lane % 4;
        const int pieces = min((t.k - k0 + Cut<C>::SLAB - 1) / Cut<C>::SLAB * Cut<C>::SLAB, Cut<C>::HELD) / 16 * (C / 16);
        float scale[Cut<C>::HELD / 128], shift[Cut<C>::HELD / 128];
#pragma unroll
        for (int i = 0; i < Cut<C>::HELD / 128; ++i) {
            const int l = k0 + i * 128 + thread % 128;
            scale[i] = l < t.k ? 1.0f : 0.0f;
            shift[i] = 0.0f;
            if (factors && l < t.k) {
                scale[i] = factors[l];
                shift[i] = offsets[l];
            }
        }
        // Two pieces at a time, the second perhaps beyond the last one, where there is room as well.
        for (int first = thread / WARP; first < pieces; first += 2 * WARPS) {
            Pack<4> of[2][2];
#pragma unroll
            for (int i = 0; i < 2; ++i) {
                const int piece = first + i * WARPS;
                const int term = k0 + piece / (C / 16) * 16 + within * 4, column = n0 + piece % (C / 16) * 16 + group * 2;
                const int l = min(term, t.k - 4), c = min(column, t.n - 2);
                if (TRANSPOSED) {
                    of[i][0] = load<4>(from + c * t.k + l);
                    of[i][1] = load<4>(from + (c + 1) * t.k + l);
                } else {
#pragma unroll
                    for (int v = 0; v < 4; ++v) {
                        const Pack<2> pair = load<2>(from + (l + v) * t.n + c);
                        of[i][0].v[v] = pair.v[0];
                        of[i][1].v[v] = pair.v[1];
                    }
                }
            }
#pragma unroll
            for (int i = 0; i < 2; ++i) {
                const int piece = first + i * WARPS;
                const int term = k0 + piece / (C / 16) * 16 + within * 4, column = n0 + piece % (C / 16) * 16 + group * 2;
#pragma unroll
                for (int odd = 0; odd < 2; ++odd) {
#pragma unroll
                    for (int v = 0; v < 4; ++v)
                        of[i][odd].v[v] = term < t.k && column < t.n ? of[i][odd].v[v] : 0.0f;
                    w[factors_at(piece, odd, lane)] = to_factors(of[i][odd]);
                }
            }
        }
#pragma unroll
        for (int i = 0; i < Cut<C>::HELD / 128; ++i) {
            factor[i * 128 + thread % 128] = scale[i];
            offset[i * 128 + thread % 128] = shift[i];
        }
    }
};

// What a lane has of a warp's product: of FOURS times 16 columns four in a row, in two of each 16 rows.
template <int C> struct Made {
    float sums[Cut<C>::M][Cut<C>::J][4];
    int row, column;  // the first of them; they may lie beyond the end
    bool first;       // whether it is of the block's first step
    __device__ __forceinline__ int row_of(int m, int r) const { return row + m * 16 + r * 8; }
    __device__ __forceinline__ int column_of(int q) const { return column + q * 16; }
    __device__ __forceinline__ float& at(int m, int r, int q, int v) { return sums[m][2 * q + v % 2][2 * r + v / 2]; }
    // Calls it(m, r, q) for the fours.
    template <class F> __device__ __forceinline__ void each(F it) const {
#pragma unroll
        for (int m = 0; m < Cut<C>::M; ++m)
#pragma unroll
            for (int r = 0; r < 2; ++r)
#pragma unroll
                for (int q = 0; q < Cut<C>::FOURS; ++q) it(m, r, q);
    }
    // A four's place in rows of n numbers, or one before the end.
    __device__ __forceinline__ int place(const Tiles& t, int m, int r, int q) const {
        return min(row_of(m, r), t.rows - 1) * t.n + min(column_of(q), t.n - 4);
    }
    __device__ __forceinline__ Pack<4> four(int m, int r, int q) {
        Pack<4> p;
#pragma unroll
        for (int v = 0; v < 4; ++v) p.v[v] = at(m, r, q, v);
        return p;
    }
    __device__ __forceinline__ void put(number* y, const Tiles& t) {
        each([&](int m, int r, int q) {
            if (row_of(m, r) >= t.rows || column_of(q) >= t.n) return;
            store(y + (row_of(m, r) * t.n + column_of(q)), four(m, r, q));
        });
    }
    __device__ __forceinline__ void plus(const number* y, const Tiles& t) {
        each([&](int m, int r, int q) {
            const Pack<4> old = load<4>(y + place(t, m, r, q));
#pragma unroll
            for (int v = 0; v < 4; ++v) at(m, r, q, v) += old.v[v];
        });
    }
    // What a ReLU lets through where x · factor + offset came to it.
    __device__ __forceinline__ void gate(const number* x, const float* factor, const float* offset, const Tiles& t) {
        each([&](int m, int r, int q) {
            const Prologue<4> prologue(factor, offset, min(column_of(q), t.n - 4), 0);
            const Pack<4> passed = prologue.gate(load<4>(x + place(t, m, r, q)), four(m, r, q));
#pragma unroll
            for (int v = 0; v < 4; ++v) at(m, r, q, v) = passed.v[v];
        });
    }
};

// Calls take(made) for each step's product.
template <int C, class F>
__device__ __forceinline__ void tall_product(const number* __restrict__ x, const float* factor, const float* offset,
                                             int with_relu, const float* __restrict__ w, int transposed, const Tiles& t,
                                             Weights<C>& weights, F take) {
    typedef Cut<C> At;
    const int thread = threadIdx.y * blockDim.x + threadIdx.x;
    const int lane = thread % WARP, warp = thread / WARP, group = lane / 4, within = lane % 4;
    const int n0 = blockIdx.y * C, across = warp / At::DOWN * At::FOURS;
    const int own_row = warp % At::DOWN * (At::M * 16) + group;
    const float least = with_relu ? 0.0f : of_bits(0xff800000u);
    // What lies beyond the end is multiplied by 0 or goes nowhere: any finite number of x stands for it.
    const auto read = [&](int row, int k0, int m, int half, int r) {
        const int at = min(row + own_row + m * 16 + r * 8, t.rows - 1) * t.k + min(k0 + half * 16 + within * 4, t.k - 4);
        return *reinterpret_cast<const Four*>(x + at);
    };
    Four lines[At::M][At::HALVES][2];
    const int begin = blockIdx.x * t.steps * At::ROWS, end = min(t.rows, begin + t.steps * At::ROWS);
#pragma unroll
    for (int half = 0; half < At::HALVES; ++half)
#pragma unroll
        for (int m = 0; m < At::M; ++m)
#pragma unroll
            for (int r = 0; r < 2; ++r) lines[m][half][r] = read(begin, 0, m, half, r);
    for (int row = begin; row < end; row += At::ROWS) {
        Made<C> made;
        made.row = row + own_row;
        made.first = row == begin;
        made.column = n0 + across * 16 + within * 4;
#pragma unroll
        for (int m = 0; m < At::M; ++m)
#pragma unroll
            for (int j = 0; j < At::J; ++j)
#pragma unroll
                for (int i = 0; i < 4; ++i) made.sums[m][j][i] = 0.0f;
        for (int k0 = 0; k0 < t.k; k0 += At::SLAB) {
            const int held = k0 % At::HELD;
            if (held == 0 && (row == begin || At::HELD < t.k)) {
                __syncthreads();
                if (transposed)
                    weights.template fill<true>(w, factor, offset, t, n0, k0, thread);
                else
                    weights.template fill<false>(w, factor, offset, t, n0, k0, thread);
                __syncthreads();
            }
            // What is read next; after all of it the last again, as a branch would keep loads from being under way together.
            const bool in_row = k0 + At::SLAB < t.k, in_next = !in_row && row + At::ROWS < end;
            const int next_row = in_next ? row + At::ROWS : row, next_k = in_row ? k0 + At::SLAB : in_next ? 0 : k0;
#pragma unroll
            for (int half = 0; half < At::HALVES; ++half) {
                const Pack<4> scale = load<4>(weights.factor + held + half * 16 + within * 4);
                const Pack<4> shift = load<4>(weights.offset + held + half * 16 + within * 4);
                const int piece = (held / 16 + half) * (C / 16) + across;
                Four b[At::FOURS][2];
#pragma unroll
                for (int q = 0; q < At::FOURS; ++q) load_factors(weights.w, piece + q, lane, b[q]);
#pragma unroll
                for (int m = 0; m < At::M; ++m) {
                    Pack<4> rows[2];
#pragma unroll
                    for (int r = 0; r < 2; ++r) {
                        rows[r] = shift;
                        fma(rows[r], pack(lines[m][half][r]), scale);
                        // The next one is on its way meanwhile.
                        lines[m][half][r] = read(next_row, next_k, m, half, r);
#pragma unroll
                        for (int v = 0; v < 4; ++v) rows[r].v[v] = at_least(rows[r].v[v], least);
                    }
                    const RowTerms a = to_terms(rows[0], rows[1]);
#pragma unroll
                    for (int j = 0; j < At::J; ++j) multiply_terms(made.sums[m][j], a, b[j / 2][j % 2]);
                }
            }
        }
        take(made);
    }
}

#define PRODUCT(C)                                                                                                       \
    extern "C" __global__ void __launch_bounds__(256, 2)                                                                 \
        product_##C(const number* __restrict__ x, const float* factor, const float* offset, int with_relu,               \
                    const float* __restrict__ w, int transposed, number* y, int add, Tiles t) {                          \
        __shared__ __align__(16) Weights<C> weights;                                                                     \
        tall_product<C>(x, factor, offset, with_relu, w, transposed, t, weights, [&](Made<C>& made) {                    \
            if (add) made.plus(y, t);                                                                                    \
            made.put(y, t);                                                                                              \
        });                                                                                                              \
    }
PRODUCT(16)
PRODUCT(32)
PRODUCT(64)

// The sum over the lanes of a warp that have the same columns.
__device__ __forceinline__ float over_rows(float x) {
#pragma unroll
    for (int lane = 4; lane < WARP; lane *= 2) x += __shfl_xor_sync(ALL_LANES, x, lane);
    return x;
}

// Joins what JOINED warps have of C columns, [warps][mean, squared deviations from it][columns] of so many rows each, of
// which the first has some: Chan, Golub and LeVeque 1979. A thread does it for its column; `part` is that column's mean of all,
// and `sum` numbers further lie the deviations.
template <int JOINED, int C>
__device__ __forceinline__ void join_warps(const float* room, const float* counts, int column, float* part, int sum) {
    float rows = 0.0f, mean = 0.0f, deviations = 0.0f;
#pragma unroll
    for (int i = 0; i < JOINED; ++i) {
        const float here = counts[i], delta = room[i * 2 * C + column] - mean;
        const float share = here / (rows + here);
        deviations += fmaf(delta * delta, rows * share, room[(i * 2 + 1) * C + column]);
        mean = fmaf(delta, share, mean);
        rows += here;
    }
    part[0] = mean;
    part[sum] = deviations;
}

// A product, and batch norm's statistics of it: see batch_norm_statistics. parts: [blocks of rows][mean, squared deviations
// from it][columns]. A block is C / 4 threads wide.
template <int C>
__device__ __forceinline__ void product_statistics(const number* __restrict__ x, const float* factor, const float* offset,
                                                   int with_relu, const float* __restrict__ w, number* y, const Tiles& t,
                                                   float* parts, unsigned int* counters, const Norm& norm,
                                                   const Normaliser& to, Weights<C>& weights, float* origins,
                                                   unsigned int* flag) {
    typedef Cut<C> At;
    const int thread = threadIdx.y * blockDim.x + threadIdx.x, lane = thread % WARP, warp = thread / WARP;
    const int down = warp % At::DOWN, n0 = blockIdx.y * C;
    // Sums of this lane's columns about the warp's first row, which lies within the data, so that a large mean costs no digits.
    float* const origin = origins + warp * At::FOURS * 16 + lane % 4 * 4;
    Pack<4> sums[At::FOURS], squares[At::FOURS];
#pragma unroll
    for (int q = 0; q < At::FOURS; ++q) sums[q] = squares[q] = splat<4>(0.0f);
    tall_product<C>(x, factor, offset, with_relu, w, 0, t, weights, [&](Made<C>& made) {
        made.put(y, t);
        if (made.first) {
#pragma unroll
            for (int q = 0; q < At::FOURS; ++q)
                if (lane < 4) store(origin + q * 16, made.four(0, 0, q));
            __syncwarp();
        }
        made.each([&](int m, int r, int q) {
            const bool real = made.row_of(m, r) < t.rows;
            const Pack<4> about = load<4>(origin + q * 16);
#pragma unroll
            for (int v = 0; v < 4; ++v) {
                const float delta = real ? made.at(m, r, q, v) - about.v[v] : 0.0f;
                sums[q].v[v] += delta;
                squares[q].v[v] = fmaf(delta, delta, squares[q].v[v]);
            }
        });
    });
    int count = 0;
    for (int step = 0; step < t.steps; ++step) {
        const int row = (blockIdx.x * t.steps + step) * At::ROWS + down * At::M * 16;
        count += min(max(t.rows - row, 0), At::M * 16);
    }

    // Each warp's mean and squared deviations from it.
    float* const room = reinterpret_cast<float*>(weights.w);
    float* const counts = room + At::DOWN * 2 * C;
    __syncthreads();
    const float share_of_row = 1.0f / (float)max(count, 1);
#pragma unroll
    for (int q = 0; q < At::FOURS; ++q) {
        const Pack<4> about = load<4>(origin + q * 16);
        Pack<4> mean, deviations;
#pragma unroll
        for (int v = 0; v < 4; ++v) {
            const float sum = over_rows(sums[q].v[v]), step = sum * share_of_row;
            mean.v[v] = about.v[v] + step;
            deviations.v[v] = fmaf(-sum, step, over_rows(squares[q].v[v]));
        }
        if (lane >= 4) continue;
        float* const own = room + down * 2 * C + (warp / At::DOWN * At::FOURS + q) * 16 + lane * 4;
        store(own, mean);
        store(own + C, deviations);
    }
    if (lane == 0) counts[down] = (float)count;
    __syncthreads();
    if (thread < C && n0 + thread < t.n)
        join_warps<At::DOWN, C>(room, counts, thread, parts + (size_t)blockIdx.x * 2 * t.n + n0 + thread, t.n);
    if (!last_block(counters + blockIdx.y, gridDim.x, flag)) return;
    const Had had(norm, n0 + thread, thread < C && n0 + thread < t.n);
    // As many parts under way as there are registers for: 256 parts take one round, or two of 32 and more columns.
    join_statistics<4, C == 64 ? 8 : 4>(parts, gridDim.x, t.steps * At::ROWS, t.rows, n0, t.n, had, norm, to, room);
}
#define PRODUCT_STATISTICS(C)                                                                                            \
    extern "C" __global__ void __launch_bounds__(256, 2)                                                                 \
        product_statistics_##C(const number* __restrict__ x, const float* factor, const float* offset,                   \
                               int with_relu, const float* __restrict__ w, number* y, Tiles t, float* parts,             \
                               unsigned int* counters, const float* scale, const float* shift, float* running_mean,      \
                               float* running_variance, double momentum, double epsilon, float* mean,                    \
                               float* inverse, float* norm_factor, float* norm_offset) {                                 \
        __shared__ __align__(16) Weights<C> weights;                                                                     \
        __shared__ __align__(16) float origins[Cut<C>::FOURS * 16 * WARPS];                                              \
        __shared__ unsigned int flag;                                                                                    \
        const Normaliser to = {mean, inverse, norm_factor, norm_offset};                                                 \
        const Norm norm = {scale, shift, running_mean, running_variance, momentum, epsilon};                             \
        product_statistics<C>(x, factor, offset, with_relu, w, y, t, parts, counters, norm, to, weights, origins,        \
                              &flag);                                                                                    \
    }
PRODUCT_STATISTICS(16)
PRODUCT_STATISTICS(32)
PRODUCT_STATISTICS(64)

// dx = or += dy · wᵀ where a ReLU let x · factor + offset through, for dy of rows × k and w of n × k numbers: what a pointwise
// convolution with a ReLU before it gives its input.
#define PRODUCT_INPUT(C)                                                                                                 \
    extern "C" __global__ void __launch_bounds__(256, 2)                                                                 \
        product_input_##C(const number* __restrict__ dy, const float* __restrict__ w, const number* x,                   \
                          const float* factor, const float* offset, number* dx, int add, Tiles t) {                      \
        __shared__ __align__(16) Weights<C> weights;                                                                     \
        tall_product<C>(dy, nullptr, nullptr, 0, w, 1, t, weights, [&](Made<C>& made) {                                  \
            made.gate(x, factor, offset, t);                                                                             \
            if (add) made.plus(dx, t);                                                                                   \
            made.put(dx, t);                                                                                             \
        });                                                                                                              \
    }
PRODUCT_INPUT(16)
PRODUCT_INPUT(32)
PRODUCT_INPUT(64)

// Dense convolution of few channels with few filters, on the tensor cores: of bfloat16, or with factors rounded to TF32
// (compute capability 8.0 and later).
//
// A block makes a tile of whole images, or of some rows of one, and of 16 · Q filters. What the tile reads lies in shared
// memory past the prologue, rounded once, with zeros around the images; and so do the filters. Where there is no room for all
// channels, some pass after others. What comes next is on its way to registers while this is multiplied. A block makes tiles
// that follow each other, so that filters can stay and statistics are summed over all of them.

// Bytes of shared memory for the tile and the filters.
#define NARROW_BYTES 46592
#define NARROW_CHANNELS 128
#define NARROW_TAPS 49

// How it is cut; made by convolution_narrow.rs. Along an axis with one tap only pixels that it reads are brought, and then they
// lie side by side.
struct __align__(8) NarrowCut {
    int images, height, width, channels, filters, out_width;
    int tile_images, tile_rows, down, tiles, steps;  // `down` tiles an image, `steps` tiles a block
    int row_step, top, row_stride;                   // input rows from a tile's row to the next, and from an output's
    int column_step, left;
    // Of what a tile reads: rows an image, columns, and those from an output to the next. Of a row the columns that the first
    // tap reads come first, then those between, from `even` on.
    int lines, columns, line_stride, column_stride, even;
    int places, plane;         // pixels, and from a chunk's first to the next one's
    int slabs, passes;         // times 16 channels of a pass, a power of two
    int by_columns, by_lines, unused;  // to multiply by instead of a division: 2¹⁶ as much
    Divisor by_down;
    int taps, tap[NARROW_TAPS];  // how many bytes a tap's pixels lie from those of the first tap
};

// Sixteen bytes of a tensor, and their numbers on the way to shared memory, where the first chunk of all pixels comes first.
// Filters lie there as product.cu's factors do, by 16 channels of a tap and 16 filters.
#ifdef BF16
typedef uint4 NarrowChunk;
// Which of 16 channels a lane's four are.
__device__ __forceinline__ int narrow_channel(int within, int v) { return within * 2 + v % 2 + v / 2 * 8; }
__device__ __forceinline__ Pack<8> pack(NarrowChunk q) { return pack(pack(make_uint2(q.x, q.y)), pack(make_uint2(q.z, q.w))); }
__device__ __forceinline__ NarrowChunk to_chunk(const Pack<8>& p, bool real) {
    const unsigned int zero = 0;
    return make_uint4(real ? bf16_pair(p.v[0], p.v[1]) : zero, real ? bf16_pair(p.v[2], p.v[3]) : zero,
                      real ? bf16_pair(p.v[4], p.v[5]) : zero, real ? bf16_pair(p.v[6], p.v[7]) : zero);
}
#else
typedef float4 NarrowChunk;
__device__ __forceinline__ int narrow_channel(int within, int v) { return within + v * 4; }
__device__ __forceinline__ NarrowChunk to_chunk(const Pack<4>& p, bool real) {
    return make_float4(real ? to_tf32(p.v[0]) : 0.0f, real ? to_tf32(p.v[1]) : 0.0f, real ? to_tf32(p.v[2]) : 0.0f,
                       real ? to_tf32(p.v[3]) : 0.0f);
}
#endif

// c += a · b of 16 rows and 8 columns, of the terms of two chunks; `half` picks these among 16.
__device__ __forceinline__ void multiply_chunks(float (&c)[4], const unsigned int (&a)[4], const Four& b, int half) {
#ifdef BF16
    const unsigned int beside[2] = {b.x, b.y};
    multiply_bf16(c, a, beside);
#else
    const float down[4] = {of_bits(a[0]), of_bits(a[1]), of_bits(a[2]), of_bits(a[3])};
    const float beside[2] = {half == 0 ? b.x : b.z, half == 0 ? b.y : b.w};
    multiply_rounded(c, down, beside);
#endif
}

// Shared memory of a block.
template <int Q> struct NarrowRoom {
    char bytes[NARROW_BYTES];  // the tile, then the filters
    float factor[NARROW_CHANNELS], offset[NARROW_CHANNELS];
    float origin[WARPS][16 * Q];
    unsigned int flag;
};

// With `parts` also batch norm's statistics of what is stored: see product_statistics. A block is 4 · Q threads wide.
template <int Q>
__device__ __forceinline__ void narrow_convolution(const number* __restrict__ x, const float* factor, const float* offset,
                                                   int with_relu, const float* __restrict__ w, const float* bias, number* y,
                                                   const NarrowCut& g, float* parts, unsigned int* counters,
                                                   const Norm& norm, const Normaliser& to, NarrowRoom<Q>& room) {
    // A warp makes M times 16 pixels.
    const int M = Q == 1 && sizeof(number) == 2 ? 4 : 2, CHUNK = 16 / (int)sizeof(number);
    const int thread = threadIdx.y * blockDim.x + threadIdx.x;
    const int lane = thread % WARP, warp = thread / WARP, group = lane / 4, within = lane % 4;
    const int f0 = blockIdx.y * 16 * Q, pixels = g.tile_images * g.tile_rows * g.out_width;
    // Chunks that a thread has under way, as many as there are registers for.
    const int LOADS = sizeof(number) == 4 && Q == 2 ? 4 : 6;
    // Chunks of 16 channels, and of all that are there at a time.
    const int HALVES = (int)sizeof(number) / 2, chunks = g.slabs * 2 * HALVES;
    Four* const filters = reinterpret_cast<Four*>(room.bytes + chunks * g.plane * 16);
    if (thread < NARROW_CHANNELS) {
        const bool real = factor && thread < g.channels;
        room.factor[thread] = real ? factor[thread] : 1.0f;
        room.offset[thread] = real ? offset[thread] : 0.0f;
    }

    // A thread brings the same channels of a pass of some pixels.
    const int at_once = 256 / chunks, own_place = thread / chunks, own_channel = thread % chunks * CHUNK;
    const float least = of_bits(with_relu ? 0u : 0xff800000u);
    NarrowChunk came[LOADS];
    unsigned int insides = 0;
    // Without branches, so that all loads can be under way together: what is not there is read from the first pixel.
    const auto bring = [&](int tile, int pass, int first) {
        const int set = (int)g.by_down.of(tile), n = set * g.tile_images, c = pass * g.slabs * 16 + own_channel;
        const int i = (tile - set * g.down) * g.tile_rows * g.row_stride - g.top;
        insides = 0;
#pragma unroll
        for (int l = 0; l < LOADS; ++l) {
            const int place = first + own_place + l * at_once, line = place * g.by_columns >> 16;
            const int image = line * g.by_lines >> 16, in_line = place + line * -g.columns;
            const int before = in_line * g.column_stride - (in_line >= g.even ? 2 * g.even - 1 : 0);
            const int row = i + (line + image * -g.lines) * g.row_step, column = before * g.column_step - g.left;
            const bool inside = (place < g.places) & (n + image < g.images) & (c < g.channels) &
                                ((unsigned int)row < (unsigned int)g.height) & ((unsigned int)column < (unsigned int)g.width);
            const int at = (((n + image) * g.height + row) * g.width + column) * g.channels + c;
            came[l] = *reinterpret_cast<const NarrowChunk*>(x + (inside ? at : 0));
            insides |= (unsigned int)inside << l;
        }
    };
    const auto put_down = [&](int pass, int first) {
        const int c = pass * g.slabs * 16 + own_channel;
        NarrowChunk* const own = reinterpret_cast<NarrowChunk*>(room.bytes) + thread % chunks * g.plane;
        const Pack<CHUNK> scale = load<CHUNK>(room.factor + c), shift = load<CHUNK>(room.offset + c);
#pragma unroll
        for (int l = 0; l < LOADS; ++l) {
            if (first + l * at_once >= g.places) continue;
            const int place = first + own_place + l * at_once;
            Pack<CHUNK> values = pack(came[l]);
#pragma unroll
            for (int v = 0; v < CHUNK; ++v) {
                const float value = fmaf(values.v[v], scale.v[v], shift.v[v]);
                values.v[v] = value < least ? least : value;
            }
            const NarrowChunk made = to_chunk(values, insides >> l & 1);
            if (place < g.places) own[place] = made;
        }
    };
    // The filters' channels of a pass. Several pieces at a time, whose loads are under way together.
    const auto fill = [&](int pass) {
        const int BATCH = sizeof(number) == 2 ? 4 : 2, pieces = g.slabs * g.taps * Q;
        for (int first = warp; first < pieces; first += BATCH * WARPS) {
            Pack<2> of[BATCH][4];
#pragma unroll
            for (int b = 0; b < BATCH; ++b) {
                const int piece = min(first + b * WARPS, pieces - 1);
                const int slab = piece / Q / g.taps, tap = piece / Q - slab * g.taps;
                const int c = (pass * g.slabs + slab) * 16, f = f0 + piece % Q * 16 + group * 2;
#pragma unroll
                for (int v = 0; v < 4; ++v) {
                    const int channel = c + narrow_channel(within, v);
                    const bool real = (channel < g.channels) & (f < g.filters);
                    of[b][v] = load<2>(w + (real ? (tap * g.channels + channel) * g.filters + f : 0));
#pragma unroll
                    for (int odd = 0; odd < 2; ++odd) of[b][v].v[odd] = real ? of[b][v].v[odd] : 0.0f;
                }
            }
#pragma unroll
            for (int b = 0; b < BATCH; ++b) {
                const int piece = first + b * WARPS;
                if (piece >= pieces) continue;
#pragma unroll
                for (int odd = 0; odd < 2; ++odd) {
                    Pack<4> four;
#pragma unroll
                    for (int v = 0; v < 4; ++v) four.v[v] = of[b][v].v[odd];
                    filters[factors_at(piece, odd, lane)] = to_factors(four);
                }
            }
        }
    };

    // How many bytes from the first chunk lies what this lane reads: the same chunk of a pixel of each 16. The last pixel
    // stands for those beyond the tile.
    int from[M];
#pragma unroll
    for (int m = 0; m < M; ++m) {
        const int pixel = min((warp * M + m) * 16 + lane % 16, pixels - 1), line = pixel / g.out_width;
        const int image = line / g.tile_rows, row = image * g.lines + (line - image * g.tile_rows) * g.line_stride;
        from[m] = (lane / 16 * g.plane + row * g.columns + pixel - line * g.out_width) * 16;
    }
    // Sums of this lane's filters about the warp's first pixel, which lies within the data, so that a large mean costs no
    // digits.
    Pack<4> sums[Q], squares[Q];
#pragma unroll
    for (int q = 0; q < Q; ++q) sums[q] = squares[q] = splat<4>(0.0f);
    float* const origin = room.origin[warp] + within * 4;
    const int begin = blockIdx.x * g.steps, end = min(begin + g.steps, g.tiles), own_pixel = warp * M * 16;
    int count = 0;
    __syncthreads();
    bring(begin, 0, 0);
    float made[M][2 * Q][4];
    for (int tile = begin, pass = 0, first = 0; tile < end;) {
        if (pass == 0 && first == 0) {
            // The bias comes first.
#pragma unroll
            for (int q = 0; q < Q; ++q) {
                const int f = f0 + q * 16 + within * 4;
                const Pack<4> plus = bias && f < g.filters ? load<4>(bias + f) : splat<4>(0.0f);
#pragma unroll
                for (int m = 0; m < M; ++m)
#pragma unroll
                    for (int i = 0; i < 8; ++i) made[m][2 * q + i / 4][i % 4] = plus.v[i % 2 * 2 + i / 4];
            }
        }
        put_down(pass, first);
        // What comes next; after all of it the last again.
        const bool pass_ends = first + LOADS * at_once >= g.places, tile_ends = pass_ends && pass + 1 == g.passes;
        const int this_tile = tile, this_pass = pass;
        first = pass_ends ? 0 : first + LOADS * at_once;
        pass = tile_ends ? 0 : pass_ends ? pass + 1 : pass;
        tile += tile_ends;
        if (pass_ends) {
            if (this_tile == begin || g.passes > 1) fill(this_pass);
            __syncthreads();
        }
        bring(min(tile, end - 1), pass, first);
        if (!pass_ends) continue;
        int piece = 0;
        for (int slab = 0; slab < g.slabs; ++slab) {
            const char* const slab_at = room.bytes + slab * 2 * HALVES * g.plane * 16;
#pragma unroll 2
            for (int t = 0; t < g.taps; ++t, piece += Q) {
                Four b[Q][2];
#pragma unroll
                for (int q = 0; q < Q; ++q) load_factors(filters, piece + q, lane, b[q]);
#pragma unroll
                for (int half = 0; half < HALVES; ++half) {
                    const char* const tap_at = slab_at + half * 2 * g.plane * 16 + g.tap[t];
                    unsigned int a[M][4];
#pragma unroll
                    for (int m = 0; m < M; ++m) load_matrices(a[m], tap_at + from[m]);
#pragma unroll
                    for (int m = 0; m < M; ++m)
#pragma unroll
                        for (int j = 0; j < 2 * Q; ++j) multiply_chunks(made[m][j], a[m], b[j / 2][j % 2], half);
                }
            }
        }
        __syncthreads();
        if (!tile_ends) continue;
        // All tiles but the last one of all are as large.
        const int set = (int)g.by_down.of(this_tile), images = min(g.images - set * g.tile_images, g.tile_images);
        const int here = images * g.tile_rows * g.out_width;
        number* const tile_to = y + (size_t)this_tile * pixels * g.filters;
        count += min(max(here - own_pixel, 0), M * 16);
#pragma unroll
        for (int q = 0; q < Q; ++q) {
            const int f = f0 + q * 16 + within * 4;
            Pack<4> about;
#pragma unroll
            for (int m = 0; m < M; ++m)
#pragma unroll
                for (int r = 0; r < 2; ++r) {
                    const int pixel = own_pixel + m * 16 + r * 8 + group;
                    Pack<4> sum;
#pragma unroll
                    for (int v = 0; v < 4; ++v) sum.v[v] = made[m][2 * q + v % 2][2 * r + v / 2];
                    const Four kept = to_four(sum);
                    if (pixel < here && f < g.filters) *reinterpret_cast<Four*>(tile_to + pixel * g.filters + f) = kept;
                    if (!parts) continue;
                    sum = pack(kept);
                    if (m == 0 && r == 0) {
                        if (this_tile == begin && group == 0) store(origin + q * 16, sum);
                        __syncwarp();
                        about = load<4>(origin + q * 16);
                    }
#pragma unroll
                    for (int v = 0; v < 4; ++v) {
                        const float delta = pixel < here ? sum.v[v] - about.v[v] : 0.0f;
                        sums[q].v[v] += delta;
                        squares[q].v[v] = fmaf(delta, delta, squares[q].v[v]);
                    }
                }
        }
    }
    if (!parts) return;

    // Each warp's mean and squared deviations from it.
    const int C = 16 * Q;
    float* const numbers = reinterpret_cast<float*>(room.bytes);
    float* const counts = numbers + WARPS * 2 * C;
    __syncthreads();
    const float share = 1.0f / (float)max(count, 1);
#pragma unroll
    for (int q = 0; q < Q; ++q) {
        const Pack<4> about = load<4>(origin + q * 16);
        Pack<4> mean, deviations;
#pragma unroll
        for (int v = 0; v < 4; ++v) {
            const float sum = over_rows(sums[q].v[v]), step = sum * share;
            mean.v[v] = about.v[v] + step;
            deviations.v[v] = fmaf(-sum, step, over_rows(squares[q].v[v]));
        }
        if (group != 0) continue;
        float* const own = numbers + warp * 2 * C + q * 16 + within * 4;
        store(own, mean);
        store(own + C, deviations);
    }
    if (lane == 0) counts[warp] = (float)count;
    __syncthreads();
    const bool has_filter = thread < C && f0 + thread < g.filters;
    if (has_filter) {
        float* const part = parts + (size_t)blockIdx.x * 2 * g.filters + f0 + thread;
        join_warps<WARPS, C>(numbers, counts, thread, part, g.filters);
    }
    if (!last_block(counters + blockIdx.y, gridDim.x, &room.flag)) return;
    const Had had(norm, f0 + thread, has_filter);
    const int rows = g.images * g.down * g.tile_rows * g.out_width;
    join_statistics<4, 4>(parts, gridDim.x, g.steps * pixels, rows, f0, g.filters, had, norm, to, numbers);
}

#define CONVOLUTION_NARROW(C, BLOCKS)                                                                                    \
    extern "C" __global__ void __launch_bounds__(256, BLOCKS)                                                            \
        convolution_narrow_##C(const number* __restrict__ x, const float* factor, const float* offset, int with_relu,    \
                               const float* __restrict__ w, const float* bias, number* y, NarrowCut g, float* parts,     \
                               unsigned int* counters, const float* scale, const float* shift, float* running_mean,      \
                               float* running_variance, double momentum, double epsilon, float* mean, float* inverse,    \
                               float* norm_factor, float* norm_offset) {                                                 \
        __shared__ __align__(16) NarrowRoom<C / 16> room;                                                                \
        const Normaliser to = {mean, inverse, norm_factor, norm_offset};                                                 \
        const Norm norm = {scale, shift, running_mean, running_variance, momentum, epsilon};                             \
        narrow_convolution<C / 16>(x, factor, offset, with_relu, w, bias, y, g, parts, counters, norm, to, room);        \
    }
CONVOLUTION_NARROW(16, 2)
// In fp32 it spills with the registers of a second block, but for compute capability 9.0.
#if defined(BF16) || __CUDA_ARCH__ == 900
CONVOLUTION_NARROW(32, 2)
#else
CONVOLUTION_NARROW(32, 1)
#endif

// Both gradients of a depthwise convolution at stride 1, by one read of what they need. With r = i + top − a·d and
// q = j + left − b·d: dx[n, i, j, c] = Σ dy[n, r, q, c] · w[a, b, c], and dw[a, b, c] = Σ x[n, i, j, c] · dy[n, r, q, c] of what
// the prologue makes of x. So each number of dy that a thread has goes into both.
//
// A dilated convolution is d² apart, each of every d-th row and column; below, rows and columns are those of one of them. A
// warp takes TAP_CHANNELS channels of TAP_COLUMNS columns and walks down some rows; its halves have STRIP columns each, a
// thread those of one channel. The warp brings the next row of dy and x, four channels a lane, to its own piece of shared
// memory, with zeros for what lies outside, while its threads keep the last K rows of dy in registers.

// Channels and columns of a warp, columns of a thread.
#define TAP_CHANNELS 16
#define TAP_COLUMNS 8
#define STRIP 4
#define TAP_WARPS (COLUMN_THREADS / WARP)
// Numbers of a tap that the warps of a block leave.
#define TAP_ROOM (TAP_WARPS * TAP_CHANNELS)

// Where a column lies in a row in shared memory: a gap follows each strip, so that the halves of a warp meet other banks.
#define TAP_PLACE(COLUMN) (((COLUMN) + (COLUMN) / STRIP) * TAP_CHANNELS)
// Numbers of shared memory that a row of x takes, and one of dy.
#define X_ROOM TAP_PLACE(TAP_COLUMNS)
#define DY_ROOM(K) TAP_PLACE(TAP_COLUMNS + (K)-1)

// Four channels as they lie in a tensor; a load that is under way should not wait to be made fp32.
#ifdef BF16
typedef uint2 Four;
__device__ __forceinline__ Four four(const number (&v)[4]) {
    return make_uint2(v[0].bits | (unsigned int)v[1].bits << 16, v[2].bits | (unsigned int)v[3].bits << 16);
}
__device__ __forceinline__ Pack<4> wide_of(const Four& q) {
    return pack(make_float4(of_bits(q.x << 16), of_bits(q.x & 0xffff0000u), of_bits(q.y << 16), of_bits(q.y & 0xffff0000u)));
}
#else
typedef float4 Four;
__device__ __forceinline__ Four four(const number (&v)[4]) { return make_float4(v[0], v[1], v[2], v[3]); }
__device__ __forceinline__ Pack<4> wide_of(const Four& q) { return pack(q); }
#endif

// The first `count` of four channels, and zeros. Only `whole` fours are aligned, of which there are all or none.
__device__ __forceinline__ Four fetch(const number* from, int count, bool whole) {
    number v[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) v[i] = (number)0.0f;
    Four read = four(v);
    if (whole) {
        if (count > 0) read = *reinterpret_cast<const Four*>(from);
        return read;
    }
#pragma unroll
    for (int i = 0; i < 4; ++i)
        if (i < count) v[i] = from[i];
    return four(v);
}

// Sums over the block's threads for each tap and channel. parts: [blocks][taps][channels], which join_parts joins.
template <int TAPS> __device__ __forceinline__ void end_taps(float (&taps)[TAPS], int channels, float* parts, float* room) {
    const int thread = threadIdx.y * TAP_CHANNELS + threadIdx.x;
#pragma unroll
    for (int t = 0; t < TAPS; ++t) {
        taps[t] += __shfl_xor_sync(ALL_LANES, taps[t], TAP_CHANNELS);
        if (thread % WARP < TAP_CHANNELS) room[(thread / WARP * TAPS + t) * TAP_CHANNELS + threadIdx.x] = taps[t];
    }
    __syncthreads();
    float* const part = parts + (size_t)blockIdx.y * TAPS * channels;
    for (int place = thread; place < TAPS * TAP_CHANNELS; place += COLUMN_THREADS) {
        const int c = blockIdx.x * TAP_CHANNELS + place % TAP_CHANNELS;
        float sum = 0.0f;
#pragma unroll
        for (int warp = 0; warp < TAP_WARPS; ++warp) sum += room[warp * TAPS * TAP_CHANNELS + place];
        if (c < channels) part[place / TAP_CHANNELS * channels + c] = sum;
    }
}

// A piece of a warp's work is `band` rows of TAP_COLUMNS columns. dx may be null. With a slope the sums of the gradient of the
// norm that made x are taken too (see batch_norm_gradient.cu), whose parts lie behind those of the taps.
template <int K, int D, bool KEEPS>
__device__ __forceinline__ void depthwise_gradient(const number* __restrict__ dy, const float* __restrict__ w,
                                                   const number* __restrict__ x, const float* mean, const float* offset,
                                                   int with_relu, number* dx, int add, int band, int pieces, float* parts,
                                                   unsigned int* counters, const Sums& to, const Window& g, float* room,
                                                   float* fixed, unsigned int* flag) {
    const int lane = (threadIdx.y * TAP_CHANNELS + threadIdx.x) % WARP, warp = threadIdx.y / (WARP / TAP_CHANNELS);
    const int c = blockIdx.x * TAP_CHANNELS + threadIdx.x, strip = lane / TAP_CHANNELS * STRIP;
    const bool has_channel = c < g.channels, whole = g.channels % 4 == 0;
    // What the lane brings: four channels of one column, and of one behind those that are the warp's own.
    const int column = lane / 4, quad = lane % 4 * 4, first_channel = blockIdx.x * TAP_CHANNELS + quad;
    const int brings = min(4, g.channels - first_channel);
    float* const dy_row = room + warp * (DY_ROOM(K) + X_ROOM);
    float* const x_row = dy_row + DY_ROOM(K);
    float* const brought = dy_row + TAP_PLACE(column) + quad;
    float* const own_dy = dy_row + TAP_PLACE(strip) + threadIdx.x;
    float* const own_x = x_row + TAP_PLACE(strip) + threadIdx.x;

    // The weights, and factor, offset and mean of the norm; a kernel that `KEEPS` has registers for the weights.
    const bool summing = to.slope != nullptr, rectifies = with_relu != 0;
    for (int t = threadIdx.y; t < K * K + 3; t += blockDim.y) {
        const float* const other = t == K * K ? to.factor : t > K * K + 1 ? mean : to.factor ? offset : nullptr;
        const float* const of = t < K * K ? w + t * g.channels : other;
        fixed[t * TAP_CHANNELS + threadIdx.x] = has_channel && of ? of[c] : t == K * K ? 1.0f : 0.0f;
    }
    __syncthreads();
    const float* const own_fixed = fixed + threadIdx.x;
    float weights[K * K], taps[K * K];
    Pack<1> totals[2] = {splat<1>(0.0f), splat<1>(0.0f)};
#pragma unroll
    for (int t = 0; t < K * K; ++t) {
        if (KEEPS) weights[t] = own_fixed[t * TAP_CHANNELS];
        taps[t] = 0.0f;
    }

    const int tiles = ((g.width + D - 1) / D + TAP_COLUMNS - 1) / TAP_COLUMNS;
    const int bands = ((g.height + D - 1) / D + band - 1) / band;
    for (int piece = blockIdx.y * TAP_WARPS + warp; piece < pieces; piece += gridDim.y * TAP_WARPS) {
        // Neighbours take what lies side by side.
        const int tile = piece / D % tiles, row = piece / (D * tiles) % D, from = piece / (D * tiles * D) % bands;
        const int image = piece / (D * tiles * D * bands);
        const int j = piece % D + tile * TAP_COLUMNS * D, i = row + from * band * D;
        const int line_size = D * g.width * g.channels;
        const int rows = min(band, (g.height - i + D - 1) / D), left = (g.width - j + D - 1) / D - strip;
        const int x_column = j + column * D, dy_column = x_column + g.left - (K - 1) * D;
        const int dy_count = (unsigned int)dy_column < (unsigned int)g.out_width ? brings : 0;
        const int behind = dy_column + TAP_COLUMNS * D;
        const int behind_count = (column < K - 1) & ((unsigned int)behind < (unsigned int)g.out_width) ? brings : 0;
        const int x_count = x_column < g.width ? brings : 0, stored = dx ? x_count : 0;
        int dy_down = i + g.top - (K - 1) * D;
        const number* from_dy =
            dy + (((long long)image * g.out_height + dy_down) * g.out_width + dy_column) * g.channels + first_channel;
        size_t place = (((size_t)image * g.height + i) * g.width + x_column) * g.channels + first_channel;

        Four next, next_behind, next_x = {};
        // A row of dy, and the row of x that lies `down` numbers on.
        const auto bring = [&](bool with_x, int down) {
            const bool inside = (unsigned int)dy_down < (unsigned int)g.out_height;
            next = fetch(from_dy, inside ? dy_count : 0, whole);
            next_behind = fetch(from_dy + TAP_COLUMNS * D * g.channels, inside ? behind_count : 0, whole);
            if (with_x) next_x = fetch(x + place + down, x_count, whole);
            dy_down += D;
            from_dy += D * g.out_width * g.channels;
        };
        bring(K == 1, 0);
        const int steps = rows > 0 ? rows + K - 1 : 0;
        float lines[K][STRIP + K - 1];
        for (int start = 0; start < steps; start += K) {
#pragma unroll
            for (int turn = 0; turn < K; ++turn) {
                const int step = start + turn;
                if (step >= steps) break;
                __syncwarp();
                store(brought, wide_of(next));
                if (column < K - 1) store(brought + TAP_PLACE(TAP_COLUMNS), wide_of(next_behind));
                store(brought + DY_ROOM(K), wide_of(next_x));
                __syncwarp();
                if (step + 1 < steps) bring(step + 1 >= K - 1, step < K - 1 ? 0 : line_size);
#pragma unroll
                for (int m = 0; m < STRIP + K - 1; ++m) lines[turn][m] = own_dy[TAP_PLACE(m)];
                if (step < K - 1) continue;
                Four old = {};
                if (add) old = fetch(dx + place, stored, whole);
                const float factor = own_fixed[K * K * TAP_CHANNELS], shift = own_fixed[(K * K + 1) * TAP_CHANNELS];
                const float middle = own_fixed[(K * K + 2) * TAP_CHANNELS];
                float value[STRIP], sums[STRIP];
#pragma unroll
                for (int p = 0; p < STRIP; ++p) {
                    const float read = fmaf(own_x[TAP_PLACE(p)], factor, shift);
                    value[p] = (p < left) & !(rectifies & (read < 0.0f)) ? read : 0.0f;
                    sums[p] = 0.0f;
                }
#pragma unroll
                for (int a = 0; a < K; ++a) {
                    const float(&line)[STRIP + K - 1] = lines[(turn + K - a) % K];
#pragma unroll
                    for (int b = 0; b < K; ++b) {
                        const int t = a * K + b;
                        const float weight = KEEPS ? weights[t] : own_fixed[t * TAP_CHANNELS];
#pragma unroll
                        for (int p = 0; p < STRIP; ++p) {
                            sums[p] = fmaf(line[p + K - 1 - b], weight, sums[p]);
                            taps[t] = fmaf(line[p + K - 1 - b], value[p], taps[t]);
                        }
                    }
                }
#pragma unroll
                for (int p = 0; p < STRIP; ++p) {
                    // A ReLU's output is positive where its input is.
                    if (!(rectifies ? value[p] > 0.0f : p < left)) sums[p] = 0.0f;
                    if (summing) {
                        totals[0].v[0] += sums[p];
                        totals[1].v[0] = fmaf(sums[p], own_x[TAP_PLACE(p)] - middle, totals[1].v[0]);
                    }
                    own_x[TAP_PLACE(p)] = sums[p];
                }
                __syncwarp();
                Pack<4> made = load<4>(brought + DY_ROOM(K));
                if (add) plus<4>(made, wide_of(old));
                if (whole) {
                    if (stored > 0) store(dx + place, made);
                } else {
#pragma unroll
                    for (int k = 0; k < 4; ++k)
                        if (k < stored) dx[place + k] = (number)made.v[k];
                }
                place += line_size;
            }
        }
    }
    __syncthreads();
    end_taps(taps, g.channels, parts, room);
    if (!summing) return;
    __syncthreads();
    const long long all = (long long)g.images * g.height * g.width;
    float* const own = parts + (size_t)gridDim.y * K * K * g.channels;
    end_sums<1>(totals, c, has_channel, all, g.channels, own, counters, 1, to, room, flag);
}

#define DEPTHWISE_GRADIENT(NAME, K, D, KEEPS, BLOCKS)                                                                    \
    extern "C" __global__ void __launch_bounds__(COLUMN_THREADS, BLOCKS)                                                 \
        NAME(const number* __restrict__ dy, const float* __restrict__ w, const number* __restrict__ x, const float* mean, \
             const float* inverse, const float* factor, const float* offset, int with_relu, number* dx, int add,         \
             int band, int pieces, float* parts, unsigned int* counters, float* slope, float* constant, float* dscale,   \
             float* dshift, Window g) {                                                                                  \
        constexpr int rows = TAP_WARPS * (DY_ROOM(K) + X_ROOM), ends = K * K * TAP_ROOM;                                 \
        __shared__ __align__(16) float room[rows > ends ? rows : ends];                                                  \
        __shared__ float fixed[(K * K + 3) * TAP_CHANNELS];                                                              \
        __shared__ unsigned int flag;                                                                                    \
        const Sums to = {inverse, factor, slope, constant, dscale, dshift};                                              \
        depthwise_gradient<K, D, KEEPS>(dy, w, x, mean, offset, with_relu, dx, add, band, pieces, parts, counters, to,   \
                                        g, room, fixed, &flag);                                                          \
    }
DEPTHWISE_GRADIENT(depthwise_gradient_k3, 3, 1, true, 2)
DEPTHWISE_GRADIENT(depthwise_gradient_k7, 7, 1, true, 1)
DEPTHWISE_GRADIENT(depthwise_gradient_k3_dilated, 3, 2, true, 2)
// With the registers of a second block it spills on compute capability 10.0 and later.
#if __CUDA_ARCH__ >= 1000 && !defined(BF16)
#define K5_BLOCKS 1
#else
#define K5_BLOCKS 2
#endif
DEPTHWISE_GRADIENT(depthwise_gradient_k5, 5, 1, false, K5_BLOCKS)
DEPTHWISE_GRADIENT(depthwise_gradient_k5_dilated, 5, 2, false, K5_BLOCKS)

// Max pooling; padding is not counted. Of equal numbers the first in reading order wins; NaN wins over all. Where a maximum was
// found lies in `places`, as its number in the window.

// Without a branch.
__device__ __forceinline__ bool is_larger(float value, float best) { return (value > best) | (value != value); }

// Windows of any size. One output, or one number of the input, a thread.
extern "C" __global__ void max_pool_any(const number* x, number* y, unsigned char* places, Pool g) {
    const unsigned int work = (unsigned int)g.images * g.out_height * g.out_width * g.channels;
    for (unsigned int index = thread_index(); index < work; index += thread_count()) {
        const Strip<1, 1> at(index, g.channels, g.out_width, g.out_height);
        const Taps rows(at.i, g.stride_y, g.top, g.kernel_height, g.height);
        const Taps columns(at.j, g.stride_x, g.left, g.kernel_width, g.width);
        float best = -1.0f / 0.0f;
        int place = rows.first * g.kernel_width + columns.first;
        for (int k = rows.first; k < rows.last; ++k)
            for (int l = columns.first; l < columns.last; ++l) {
                const int i = at.i * g.stride_y - g.top + k, j = at.j * g.stride_x - g.left + l;
                const float value = x[(((size_t)at.n * g.height + i) * g.width + j) * g.channels + at.c];
                if (!is_larger(value, best)) continue;
                best = value;
                place = k * g.kernel_width + l;
            }
        y[(size_t)(index / g.channels) * g.out_stride + at.c] = (number)best;
        if (places) places[index] = (unsigned char)place;
    }
}
extern "C" __global__ void max_pool_gradient_any(const number* dy, const unsigned char* places, number* dx, int add, Pool g) {
    const unsigned int work = (unsigned int)g.images * g.height * g.width * g.channels;
    for (unsigned int index = thread_index(); index < work; index += thread_count()) {
        const Strip<1, 1> at(index, g.channels, g.width, g.height);
        const Windows rows(at.i, g.stride_y, g.top, g.kernel_height, g.out_height);
        const Windows columns(at.j, g.stride_x, g.left, g.kernel_width, g.out_width);
        float sum = 0.0f;
        for (int i = rows.first; i < rows.last; ++i)
            for (int j = columns.first; j < columns.last; ++j) {
                const size_t pixel = ((size_t)at.n * g.out_height + i) * g.out_width + j;
                const int row = at.i + g.top - i * g.stride_y, column = at.j + g.left - j * g.stride_x;
                if (places[pixel * g.channels + at.c] == row * g.kernel_width + column) sum += dy[pixel * g.out_stride + at.c];
            }
        put<1>(dx + index, splat<1>(sum), add);
    }
}

// Windows of at most T × T, of channels in fours. The first maximum of a window is the first one of the rows' first maxima; so a
// block makes, in shared memory, the maxima of each row's windows, and of these the windows'. Backwards likewise: the
// outputs below each other that took their maximum from one row's window have it of the same column; so a block sums their
// gradients first, and then, for each number, the sums of the windows whose column it is.

// Packs of four numbers in shared memory.
#define POOL_ROOM 2048

// What a block makes: rows × columns × packs, of the output, or backwards of the input. Its threads are columns · packs
// beside each other, and as many rows of them as fit.
struct __align__(8) PoolTile {
    int rows, columns, packs, row_tiles, column_tiles, pack_tiles;
};
struct TileCorner {
    int n, i, j, c;
    __device__ __forceinline__ explicit TileCorner(const PoolTile& tile) {
        unsigned int index = blockIdx.x;
        c = (int)(index % tile.pack_tiles) * tile.packs * 4;
        index /= tile.pack_tiles;
        j = (int)(index % tile.column_tiles) * tile.columns;
        index /= tile.column_tiles;
        i = (int)(index % tile.row_tiles) * tile.rows;
        n = (int)(index / tile.row_tiles);
    }
};

struct Places {
    int v[4];
    Places() = default;
    __device__ __forceinline__ explicit Places(const unsigned char* from) {
        const uchar4 q = *reinterpret_cast<const uchar4*>(from);
        v[0] = q.x;
        v[1] = q.y;
        v[2] = q.z;
        v[3] = q.w;
    }
    __device__ __forceinline__ void store(unsigned char* to) const {
        *reinterpret_cast<uchar4*>(to) =
            make_uchar4((unsigned char)v[0], (unsigned char)v[1], (unsigned char)v[2], (unsigned char)v[3]);
    }
};

// The maximum so far of a window's numbers, and where it is.
struct Best {
    Pack<4> value;
    Places place;
    // `is_first`: whether it is the window's first number.
    __device__ __forceinline__ void take(bool is_first, const Pack<4>& other, const Places& there) {
#pragma unroll
        for (int v = 0; v < 4; ++v) {
            const bool larger = is_first | is_larger(other.v[v], value.v[v]);
            value.v[v] = larger ? other.v[v] : value.v[v];
            place.v[v] = larger ? there.v[v] : place.v[v];
        }
    }
};

// `places` may be null. `values` and `found` are the room of POOL_ROOM packs.
template <int T>
__device__ __forceinline__ void max_pool(const number* __restrict__ x, number* y, unsigned char* places, const Pool& g,
                                         const PoolTile& tile, number* values, unsigned char* found) {
    const float lowest = -1.0f / 0.0f;
    const TileCorner corner(tile);
    const int j = corner.j + threadIdx.x / tile.packs, c = corner.c + threadIdx.x % tile.packs * 4;
    const bool is_inside = j < g.out_width && c < g.channels;
    // The rows that the tile's windows hold.
    const int below = min(corner.i + tile.rows, g.out_height);
    const int first = max(corner.i * g.stride_y - g.top, 0);
    const int last = min((below - 1) * g.stride_y - g.top + g.kernel_height, g.height);
    if (is_inside) {
        const Taps across(j, g.stride_x, g.left, g.kernel_width, g.width);
        for (int i = first + threadIdx.y; i < last; i += blockDim.y) {
            // Beside the window its first number is read once more, and not taken.
            const size_t row = ((size_t)corner.n * g.height + i) * g.width + j * g.stride_x - g.left + across.first;
            const number* const from = x + row * g.channels + c;
            Pack<4> value[T];
#pragma unroll
            for (int l = 0; l < T; ++l) {
                const bool is_real = (across.first <= l) & (l < across.last);
                value[l] = load<4>(from + (is_real ? (l - across.first) * g.channels : 0));
#pragma unroll
                for (int v = 0; v < 4; ++v) value[l].v[v] = is_real ? value[l].v[v] : lowest;
            }
            Best best;
#pragma unroll
            for (int l = 0; l < T; ++l) {
                Places place;
#pragma unroll
                for (int v = 0; v < 4; ++v) place.v[v] = l;
                best.take((l == 0) | (l == across.first), value[l], place);
            }
            const int to = ((i - first) * blockDim.x + threadIdx.x) * 4;
            store(values + to, best.value);
            best.place.store(found + to);
        }
    }
    __syncthreads();
    if (!is_inside) return;
    for (int i = corner.i + threadIdx.y; i < below; i += blockDim.y) {
        const Taps down(i, g.stride_y, g.top, g.kernel_height, g.height);
        const int start = i * g.stride_y - g.top - first;
        Best best;
#pragma unroll
        for (int k = 0; k < T; ++k) {
            const bool is_real = (down.first <= k) & (k < down.last);
            const int from = ((start + (is_real ? k : down.first)) * blockDim.x + threadIdx.x) * 4;
            Pack<4> value = load<4>(values + from);
            Places place(found + from);
#pragma unroll
            for (int v = 0; v < 4; ++v) {
                value.v[v] = is_real ? value.v[v] : lowest;
                place.v[v] += k * g.kernel_width;
            }
            best.take((k == 0) | (k == down.first), value, place);
        }
        const size_t pixel = ((size_t)corner.n * g.out_height + i) * g.out_width + j;
        store(y + pixel * g.out_stride + c, best.value);
        if (places) best.place.store(places + pixel * g.channels + c);
    }
}

// T: windows along an axis that hold a number, at most. `sums` and `columns` are the room of POOL_ROOM packs.
template <int T>
__device__ __forceinline__ void max_pool_gradient(const number* __restrict__ dy, const unsigned char* __restrict__ places,
                                                  number* dx, int add, const Pool& g, const PoolTile& tile, float* sums,
                                                  unsigned char* columns) {
    const TileCorner corner(tile);
    const int below = min(corner.i + tile.rows, g.height), beyond = min(corner.j + tile.columns, g.width);
    // The outputs of a row whose windows hold the tile's columns: first..last.
    const int first = Windows(corner.j, g.stride_x, g.left, g.kernel_width, g.out_width).first;
    const int last = Windows(beyond - 1, g.stride_x, g.left, g.kernel_width, g.out_width).last;
    const int across = (last - first) * tile.packs;
    for (int item = threadIdx.x; item < across; item += blockDim.x) {
        const int j = first + item / tile.packs, c = corner.c + item % tile.packs * 4;
        if (c >= g.channels) continue;
        for (int i = corner.i + threadIdx.y; i < below; i += blockDim.y) {
            // The first window that ends at this row or below. Of those from there on that begin below it the row would have a
            // negative number, which is no place's. Below the last, that one or some other is read, and not taken.
            const int above = Windows(i, g.stride_y, g.top, g.kernel_height, g.out_height).first;
            const int row = min(above, g.out_height - 1);
            const size_t pixel = ((size_t)corner.n * g.out_height + row) * g.out_width + j;
            const number* const gradients = dy + pixel * g.out_stride + c;
            const unsigned char* const from = places + pixel * g.channels + c;
            Pack<4> gradient[T];
            Places place[T];
#pragma unroll
            for (int t = 0; t < T; ++t) {
                const int down = above + t < g.out_height ? t * g.out_width : 0;
                gradient[t] = load<4>(gradients + down * g.out_stride);
                place[t] = Places(from + down * g.channels);
            }
            Pack<4> sum = splat<4>(0.0f);
            Places column;
#pragma unroll
            for (int v = 0; v < 4; ++v) column.v[v] = 0;
#pragma unroll
            for (int t = 0; t < T; ++t) {
                // The number of this row's first place in the window; beyond all where there is no window.
                const int k = i + g.top - (above + t) * g.stride_y;
                const int begin = above + t < g.out_height ? k * g.kernel_width : 256;
#pragma unroll
                for (int v = 0; v < 4; ++v) {
                    const int l = place[t].v[v] - begin;
                    if ((unsigned int)l >= (unsigned int)g.kernel_width) continue;
                    sum.v[v] += gradient[t].v[v];
                    column.v[v] = l;
                }
            }
            const int to = ((i - corner.i) * across + item) * 4;
            store(sums + to, sum);
            column.store(columns + to);
        }
    }
    __syncthreads();
    const int pack = threadIdx.x % tile.packs, j = corner.j + threadIdx.x / tile.packs, c = corner.c + pack * 4;
    if (j >= g.width || c >= g.channels) return;
    const int left = Windows(j, g.stride_x, g.left, g.kernel_width, g.out_width).first;
    for (int i = corner.i + threadIdx.y; i < below; i += blockDim.y) {
        Pack<4> sum = splat<4>(0.0f);
#pragma unroll
        for (int t = 0; t < T; ++t) {
            const bool is_real = left + t < last;
            const int from = ((i - corner.i) * across + (is_real ? left + t - first : 0) * tile.packs + pack) * 4;
            const int l = is_real ? j + g.left - (left + t) * g.stride_x : -1;
            const Pack<4> value = load<4>(sums + from);
            const Places column(columns + from);
#pragma unroll
            for (int v = 0; v < 4; ++v)
                if (column.v[v] == l) sum.v[v] += value.v[v];
        }
        put<4>(dx + (((size_t)corner.n * g.height + i) * g.width + j) * g.channels + c, sum, add);
    }
}

#define MAX_POOL(T)                                                                                                          \
    extern "C" __global__ void __launch_bounds__(256, 4) max_pool_##T(const number* x, number* y, unsigned char* places,     \
                                                                      Pool g, PoolTile tile) {                               \
        __shared__ __align__(16) number values[POOL_ROOM * 4];                                                               \
        __shared__ __align__(16) unsigned char found[POOL_ROOM * 4];                                                         \
        max_pool<T>(x, y, places, g, tile, values, found);                                                                   \
    }                                                                                                                        \
    extern "C" __global__ void __launch_bounds__(256, 4) max_pool_gradient_##T(                                              \
        const number* dy, const unsigned char* places, number* dx, int add, Pool g, PoolTile tile) {                         \
        __shared__ __align__(16) float sums[POOL_ROOM * 4];                                                                  \
        __shared__ __align__(16) unsigned char columns[POOL_ROOM * 4];                                                       \
        max_pool_gradient<T>(dy, places, dx, add, g, tile, sums, columns);                                                   \
    }
MAX_POOL(3)
MAX_POOL(5)
MAX_POOL(7)

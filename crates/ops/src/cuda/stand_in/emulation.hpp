// CUDA C++ on the host, for the tests: blocks one after the other, the threads of a block as fibres that change at
// barriers and warp exchanges. Shared memory starts as NaN. `reversed` runs blocks and threads from the last to the first,
// so that a missing barrier shows in one order or the other.
#include <cmath>
#include <csetjmp>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <ucontext.h>
#include <utility>
#include <vector>

#define __global__
#define __device__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __shared__ static __attribute__((section("cuda_shared")))
#define __restrict__ __restrict
#define __align__(bytes) __attribute__((aligned(bytes)))

struct uint3 { unsigned int x, y, z; };
static uint3 threadIdx, blockIdx, blockDim, gridDim;

struct alignas(8) float2 { float x, y; };
inline float2 make_float2(float x, float y) { return {x, y}; }
struct alignas(16) float4 { float x, y, z, w; };
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
struct alignas(8) uint2 { unsigned int x, y; };
inline uint2 make_uint2(unsigned int x, unsigned int y) { return {x, y}; }
struct alignas(16) uint4 { unsigned int x, y, z, w; };
inline uint4 make_uint4(unsigned int x, unsigned int y, unsigned int z, unsigned int w) { return {x, y, z, w}; }
struct alignas(4) uchar4 { unsigned char x, y, z, w; };
inline uchar4 make_uchar4(unsigned char x, unsigned char y, unsigned char z, unsigned char w) { return {x, y, z, w}; }

inline float of_bits(unsigned int bits) {
    float value;
    memcpy(&value, &bits, 4);
    return value;
}
inline unsigned int bf16_bits(float value) {
    if (std::isnan(value)) return 0x7fff;
    unsigned int bits;
    memcpy(&bits, &value, 4);
    return (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}
inline unsigned int bf16_pair(float low, float high) { return bf16_bits(low) | bf16_bits(high) << 16; }
inline unsigned int signs_of_halves(unsigned int pair) { return (pair >> 15 & 0x10001u) * 0xffffu; }

template <class T> inline T min(T a, T b) { return b < a ? b : a; }
template <class T> inline T max(T a, T b) { return a < b ? b : a; }
inline float __fdividef(float a, float b) { return a / b; }
using std::isfinite;
using std::isnan;
inline unsigned int count_up(unsigned int* counter, unsigned int last) {
    const unsigned int old = *counter;
    *counter = old < last ? old + 1 : 0;
    return old;
}
inline double rsqrt(double x) { return 1.0 / sqrt(x); }
template <class T> inline T __ldcg(const T* from) { return *from; }
template <class T> inline T __ldg(const T* from) { return *from; }

namespace emulation {
// A thread of the block. It is made once and runs the body again and again; `resume` is where it stands.
struct Fibre { jmp_buf resume; ucontext_t start; std::vector<char> stack; bool started, done; uint3 place; int waits; };
static std::vector<Fibre*> fibres;
static jmp_buf scheduler;
static size_t current;
static double exchange[1024];
static void (*body)(void**);
static void** arguments;

// Goes on with a fibre until it gives way. Jumps, because ucontext's switches would ask the system each time.
inline void go_on(Fibre& fibre) {
    if (_setjmp(scheduler)) return;
    threadIdx = fibre.place;
    if (fibre.started) _longjmp(fibre.resume, 1);
    fibre.started = true;
    setcontext(&fibre.start);
}
inline void give_way(Fibre& fibre) {
    if (!_setjmp(fibre.resume)) _longjmp(scheduler, 1);
}

enum { RUNS, BLOCK_BARRIER, WARP_BARRIER };
inline void wait(int kind) {
    Fibre& fibre = *fibres[current];
    fibre.waits = kind;
    give_way(fibre);
}
inline void enter() {
    for (;;) {
        Fibre& fibre = *fibres[current];
        body(arguments);
        fibre.done = true;
        give_way(fibre);
    }
}

template <class T> inline char kind(T*) { return 'p'; }
inline char kind(int) { return 'i'; }
inline char kind(long long) { return 'l'; }
inline char kind(unsigned long long) { return 'b'; }
inline char kind(float) { return 'f'; }
inline char kind(double) { return 'd'; }
template <class T> inline char kind(const T&) { static_assert(alignof(T) == 8, ""); return 's'; }

template <class... A, size_t... I> inline void call(void (*kernel)(A...), void** at, std::index_sequence<I...>) {
    kernel(*(A*)at[I]...);
}
template <class... A> inline void call(void (*kernel)(A...), void** at) {
    call(kernel, at, std::index_sequence_for<A...>());
}
template <class... A> inline void kinds(void (*)(A...), char* to, int* structure) {
    const char all[] = {kind(A())..., 0};
    memcpy(to, all, sizeof all);
    const int sizes[] = {(kind(A()) == 's' ? (int)sizeof(A) : 0)..., 0};
    *structure = 0;
    for (int size : sizes) *structure += size;
}

template <class... A> inline std::vector<size_t> sizes(void (*)(A...)) {
    return {sizeof(A)...};
}

struct Entry { const char* name; void (*call)(void**); void (*kinds)(char*, int*); std::vector<size_t> (*sizes)(); };
}  // namespace emulation

inline void __syncthreads() { emulation::wait(emulation::BLOCK_BARRIER); }
inline void __syncwarp(unsigned int = ~0u) { emulation::wait(emulation::WARP_BARRIER); }
// The whole warp takes part in every exchange.
template <class T> inline T exchanged(T value, size_t from) {
    memcpy(&emulation::exchange[emulation::current], &value, sizeof value);
    __syncwarp();
    T found;
    memcpy(&found, &emulation::exchange[from], sizeof found);
    __syncwarp();
    return found;
}
template <class T> inline T __shfl_xor_sync(unsigned int, T value, int lanes) {
    return exchanged(value, emulation::current ^ (size_t)lanes);
}
template <class T> inline T __shfl_sync(unsigned int, T value, int lane) {
    return exchanged(value, emulation::current / 32 * 32 + (size_t)lane);
}

// The tensor core's product of a warp, c += a · b of 16 × 8 and 8 × 8 numbers, whose numbers lie in the lanes as the PTX
// manual has it for mma.m16n8k8.
namespace emulation {
static float fragments[1024][6];
static unsigned int words[1024][6];
static const void* rows[1024];
static bool exact;  // Whether nothing is rounded, which no GPU does.
inline float rounded(float x) {
    if (exact) return x;
    uint32_t bits;
    memcpy(&bits, &x, 4);
    bits = (bits + 0x1000u) & ~0x1fffu;
    memcpy(&x, &bits, 4);
    return x;
}
// What the tensor core takes of a number that is not rounded.
inline float truncated(float x) {
    if (exact) return x;
    uint32_t bits;
    memcpy(&bits, &x, 4);
    bits &= ~0x1fffu;
    memcpy(&x, &bits, 4);
    return x;
}
}  // namespace emulation
inline float to_tf32(float x) { return emulation::rounded(x); }
inline void multiply_rounded(float (&c)[4], const float (&a)[4], const float (&b)[2]) {
    using namespace emulation;
    for (int i = 0; i < 6; ++i) fragments[current][i] = truncated(i < 4 ? a[i] : b[i - 4]);
    __syncwarp();
    const size_t warp = current / 32 * 32, lane = current % 32;
    for (int i = 0; i < 4; ++i) {
        const size_t row = lane / 4 + (i >= 2 ? 8 : 0), column = lane % 4 * 2 + i % 2;
        for (size_t k = 0; k < 8; ++k) {
            const float* from = fragments[warp + row % 8 * 4 + k % 4];
            c[i] += from[(row >= 8) + 2 * (k >= 4)] * fragments[warp + column * 4 + k % 4][4 + (k >= 4)];
        }
    }
    __syncwarp();
}
// The same of 16 × 16 and 16 × 8 numbers of bfloat16, two in a word, as mma.m16n8k16 has them.
inline void multiply_bf16(float (&c)[4], const unsigned int (&a)[4], const unsigned int (&b)[2]) {
    using namespace emulation;
    for (int i = 0; i < 6; ++i) words[current][i] = i < 4 ? a[i] : b[i - 4];
    __syncwarp();
    const size_t warp = current / 32 * 32, lane = current % 32;
    const auto half = [](unsigned int word, size_t k) { return of_bits(k % 2 ? word & 0xffff0000u : word << 16); };
    for (int i = 0; i < 4; ++i) {
        const size_t row = lane / 4 + (i >= 2 ? 8 : 0), column = lane % 4 * 2 + i % 2;
        for (size_t k = 0; k < 16; ++k) {
            const unsigned int* from = words[warp + row % 8 * 4 + k % 8 / 2];
            c[i] += half(from[(row >= 8) + 2 * (k >= 8)], k) * half(words[warp + column * 4 + k % 8 / 2][4 + (k >= 8)], k);
        }
    }
    __syncwarp();
}
// ldmatrix.trans of four matrices of 8 × 8 numbers of two bytes: lane i has the address of row i % 8 of matrix i / 8.
inline void load_turned(unsigned int (&to)[4], const void* row) {
    using namespace emulation;
    rows[current] = row;
    __syncwarp();
    const size_t warp = current / 32 * 32, lane = current % 32;
    for (size_t i = 0; i < 4; ++i) {
        const void* const* of = rows + warp + i * 8 + lane % 4 * 2;
        const auto at = [&](int row) { return ((const unsigned short*)of[row])[lane / 4]; };
        to[i] = at(0) | (unsigned int)at(1) << 16;
    }
    __syncwarp();
}
// movmatrix.trans of a matrix of which each lane has a word.
inline unsigned int turned(unsigned int word) {
    using namespace emulation;
    words[current][0] = word;
    __syncwarp();
    const size_t warp = current / 32 * 32, lane = current % 32;
    const auto at = [&](size_t row) { return words[warp + row * 4 + lane / 8][0] >> lane / 4 % 2 * 16 & 0xffffu; };
    const unsigned int found = at(lane % 4 * 2) | at(lane % 4 * 2 + 1) << 16;
    __syncwarp();
    return found;
}
// Copies that are there at once.
inline void copy_later(void* to, const void* from, bool real) {
    if (real)
        memcpy(to, from, 16);
    else
        memset(to, 0, 16);
}
inline void end_copies() {}
template <int N> inline void await_copies() {}
// The words of four matrices in shared memory that PTX's ldmatrix gives a lane.
inline void load_matrices(unsigned int (&to)[4], const void* row) {
    using namespace emulation;
    rows[current] = row;
    __syncwarp();
    const size_t warp = current / 32 * 32, lane = current % 32;
    for (size_t i = 0; i < 4; ++i)
        memcpy(&to[i], (const char*)rows[warp + i * 8 + lane / 4] + lane % 4 * 4, 4);
    __syncwarp();
}
#define EMULATED

extern char __start_cuda_shared[] __attribute__((weak)), __stop_cuda_shared[] __attribute__((weak));

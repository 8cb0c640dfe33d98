// cuDNN, as far as a step needs it: dense convolutions of NHWC tensors with filters F × kh × kw × C, summed in plain order.
// Its heuristics propose an algorithm that fails and one that needs too much workspace before the one that works, which
// spoils all of its workspace.
namespace dnn {
enum Result { SUCCESS = 0, NOT_INITIALIZED = 1001, BAD_PARAM = 2000, NOT_SUPPORTED = 3000 };
enum Math { DEFAULT = 0, TENSOR = 1, FMA = 3 };
enum { REFUSED = 0, GREEDY = 1, GOOD = 2 };
static const size_t ROOM = 4096;

struct Tensor {
    int n, c, h, w;
    bool bf16;
};
struct Convolution { int top, left, down, right, rows, columns, math; };
struct Proposal { int algorithm, status; float time; size_t memory; int determinism, math, reserved[3]; };

inline size_t numbers(const Tensor& t) { return (size_t)t.n * t.c * t.h * t.w; }
// A tensor and where it lies.
struct Place {
    Tensor of;
    void* at;
    bool inside() const { return driver::inside(at, numbers(of) * (of.bf16 ? 2 : 4)); }
    float get(size_t i) const { return of.bf16 ? of_bits((unsigned int)((uint16_t*)at)[i] << 16) : ((float*)at)[i]; }
    void set(size_t i, float value) const {
        if (of.bf16) ((uint16_t*)at)[i] = (uint16_t)bf16_bits(value);
        else ((float*)at)[i] = value;
    }
};
inline bool fits(const Tensor& x, const Tensor& filters, const Convolution& conv, const Tensor& y) {
    const int height = (x.h + 2 * conv.top - conv.rows * (filters.h - 1) - 1) / conv.down + 1;
    const int width = (x.w + 2 * conv.left - conv.columns * (filters.w - 1) - 1) / conv.right + 1;
    return x.n == y.n && filters.n == y.c && filters.c == x.c && y.h == height && y.w == width;
}
inline int propose(const Convolution& conv, int most, int* count, Proposal* to) {
    const Proposal all[] = {
        {REFUSED, NOT_SUPPORTED, -1, 0, 0, conv.math, {}},
        {GREEDY, SUCCESS, -1, (size_t)1 << 40, 0, conv.math, {}},
        {GOOD, SUCCESS, -1, ROOM, 0, TENSOR, {}},
    };
    *count = most < 3 ? most : 3;
    for (int i = 0; i < *count; ++i) to[i] = all[i];
    return SUCCESS;
}
inline int workspace(int algorithm, size_t* bytes) {
    *bytes = algorithm == GREEDY ? (size_t)1 << 40 : ROOM;
    return algorithm == REFUSED ? NOT_SUPPORTED : SUCCESS;
}

// Calls `each(index in x, index in the filters, index in y)` for each product of a convolution.
template <class Each>
inline void products(const Tensor& x, const Tensor& filters, const Convolution& conv, const Tensor& y, Each each) {
    for (int n = 0; n < y.n; ++n)
        for (int row = 0; row < y.h; ++row)
            for (int column = 0; column < y.w; ++column)
                for (int f = 0; f < y.c; ++f)
                    for (int a = 0; a < filters.h; ++a)
                        for (int b = 0; b < filters.w; ++b) {
                            const int i = row * conv.down + a * conv.rows - conv.top;
                            const int j = column * conv.right + b * conv.columns - conv.left;
                            if (i < 0 || i >= x.h || j < 0 || j >= x.w) continue;
                            const size_t from = (((size_t)n * x.h + i) * x.w + j) * x.c;
                            const size_t filter = (((size_t)f * filters.h + a) * filters.w + b) * x.c;
                            const size_t to = (((size_t)n * y.h + row) * y.w + column) * y.c + f;
                            for (int c = 0; c < x.c; ++c) each(from + c, filter + c, to);
                        }
}

struct Call {
    void* handle;
    Place x, filters, y;
    Convolution conv;
    int algorithm;
    void* room;
    size_t bytes;
    float factor, old;
};
// Puts a pass into its stream: `pick` gives the tensor that is written; `each` adds one product to it.
template <class Pick, class Each> inline int put(const Call& call, Pick pick, Each each) {
    if (driver::ready()) return NOT_INITIALIZED;
    if (call.algorithm != GOOD) return NOT_SUPPORTED;
    const bool inside = call.x.inside() && call.y.inside() && call.filters.inside() && driver::inside(call.room, ROOM);
    const bool alike = call.x.of.bf16 == call.y.of.bf16 && call.x.of.bf16 == call.filters.of.bf16;
    if (!inside || !alike || call.bytes < ROOM || !fits(call.x.of, call.filters.of, call.conv, call.y.of)) return BAD_PARAM;
    driver::put(driver::of(((blas::Handle*)call.handle)->stream), [=] {
        memset(call.room, 0xff, ROOM);
        const Place to = pick(call);
        std::vector<float> sums(numbers(to.of));
        const bool rounds = call.conv.math != FMA;
        const auto read = [rounds](float v) { return rounds ? emulation::rounded(v) : v; };
        products(call.x.of, call.filters.of, call.conv, call.y.of,
                 [&](size_t x, size_t filter, size_t y) { each(call, read, sums.data(), x, filter, y); });
        for (size_t i = 0; i < sums.size(); ++i)
            to.set(i, call.factor * sums[i] + (call.old == 0 ? 0 : call.old * to.get(i)));
    });
    return SUCCESS;
}
}  // namespace dnn

extern "C" {
size_t cudnnGetVersion() { return 91900; }
int cudnnCreate(void** to) {
    LOCKED;
    if (driver::ready()) return dnn::NOT_INITIALIZED;
    *to = new blas::Handle{nullptr};
    return 0;
}
int cudnnDestroy(void* handle) { delete (blas::Handle*)handle; return 0; }
int cudnnSetStream(void* handle, void* stream) { ((blas::Handle*)handle)->stream = stream; return 0; }
int cudnnCreateTensorDescriptor(dnn::Tensor** to) { *to = new dnn::Tensor{}; return 0; }
int cudnnDestroyTensorDescriptor(dnn::Tensor* it) { delete it; return 0; }
int cudnnSetTensor4dDescriptor(dnn::Tensor* it, int format, int type, int n, int c, int h, int w) {
    const int fp32 = 0, bf16 = 9;
    if (format != 1 || (type != fp32 && type != bf16)) return dnn::NOT_SUPPORTED;
    if (n < 1 || c < 1 || h < 1 || w < 1) return dnn::BAD_PARAM;
    *it = {n, c, h, w, type == bf16};
    return 0;
}
int cudnnCreateFilterDescriptor(dnn::Tensor** to) { *to = new dnn::Tensor{}; return 0; }
int cudnnDestroyFilterDescriptor(dnn::Tensor* it) { delete it; return 0; }
int cudnnSetFilter4dDescriptor(dnn::Tensor* it, int type, int format, int k, int c, int h, int w) {
    return cudnnSetTensor4dDescriptor(it, format, type, k, c, h, w);
}
int cudnnCreateConvolutionDescriptor(dnn::Convolution** to) { *to = new dnn::Convolution{}; return 0; }
int cudnnDestroyConvolutionDescriptor(dnn::Convolution* it) { delete it; return 0; }
int cudnnSetConvolution2dDescriptor(dnn::Convolution* it, int top, int left, int down, int right, int rows, int columns, int mode,
                                    int type) {
    if (mode != 1 || type != 0) return dnn::NOT_SUPPORTED;
    if (top < 0 || left < 0 || down < 1 || right < 1 || rows < 1 || columns < 1) return dnn::BAD_PARAM;
    *it = {top, left, down, right, rows, columns, dnn::DEFAULT};
    return 0;
}
int cudnnSetConvolutionMathType(dnn::Convolution* it, int math) { it->math = math; return 0; }

int cudnnGetConvolutionForwardAlgorithm_v7(void*, const dnn::Tensor* x, const dnn::Tensor* filters, const dnn::Convolution* conv,
                                           const dnn::Tensor* y, int most, int* count, dnn::Proposal* to) {
    return dnn::fits(*x, *filters, *conv, *y) ? dnn::propose(*conv, most, count, to) : dnn::BAD_PARAM;
}
int cudnnGetConvolutionBackwardDataAlgorithm_v7(void*, const dnn::Tensor* filters, const dnn::Tensor* y, const dnn::Convolution* conv,
                                                const dnn::Tensor* x, int most, int* count, dnn::Proposal* to) {
    return dnn::fits(*x, *filters, *conv, *y) ? dnn::propose(*conv, most, count, to) : dnn::BAD_PARAM;
}
int cudnnGetConvolutionBackwardFilterAlgorithm_v7(void*, const dnn::Tensor* x, const dnn::Tensor* y, const dnn::Convolution* conv,
                                                  const dnn::Tensor* filters, int most, int* count, dnn::Proposal* to) {
    return dnn::fits(*x, *filters, *conv, *y) ? dnn::propose(*conv, most, count, to) : dnn::BAD_PARAM;
}
int cudnnGetConvolutionForwardWorkspaceSize(void*, const void*, const void*, const void*, const void*, int algorithm, size_t* bytes) {
    return dnn::workspace(algorithm, bytes);
}
int cudnnGetConvolutionBackwardDataWorkspaceSize(void*, const void*, const void*, const void*, const void*, int algorithm,
                                                 size_t* bytes) {
    return dnn::workspace(algorithm, bytes);
}
int cudnnGetConvolutionBackwardFilterWorkspaceSize(void*, const void*, const void*, const void*, const void*, int algorithm,
                                                   size_t* bytes) {
    return dnn::workspace(algorithm, bytes);
}

int cudnnConvolutionForward(void* handle, const float* factor, const dnn::Tensor* of_x, void* x, const dnn::Tensor* of_filters,
                            void* filters, const dnn::Convolution* conv, int algorithm, void* room, size_t bytes, const float* old,
                            const dnn::Tensor* of_y, void* y) {
    LOCKED;
    const dnn::Call call{handle, {*of_x, x}, {*of_filters, filters}, {*of_y, y}, *conv, algorithm, room, bytes, *factor, *old};
    return dnn::put(call, [](const dnn::Call& call) { return call.y; },
                    [](const dnn::Call& call, auto read, float* sums, size_t x, size_t filter, size_t y) {
                        sums[y] += read(call.x.get(x)) * read(call.filters.get(filter));
                    });
}
int cudnnConvolutionBackwardData(void* handle, const float* factor, const dnn::Tensor* of_filters, void* filters,
                                 const dnn::Tensor* of_y, void* y, const dnn::Convolution* conv, int algorithm, void* room,
                                 size_t bytes, const float* old, const dnn::Tensor* of_x, void* x) {
    LOCKED;
    const dnn::Call call{handle, {*of_x, x}, {*of_filters, filters}, {*of_y, y}, *conv, algorithm, room, bytes, *factor, *old};
    return dnn::put(call, [](const dnn::Call& call) { return call.x; },
                    [](const dnn::Call& call, auto read, float* sums, size_t x, size_t filter, size_t y) {
                        sums[x] += read(call.y.get(y)) * read(call.filters.get(filter));
                    });
}
int cudnnConvolutionBackwardFilter(void* handle, const float* factor, const dnn::Tensor* of_x, void* x, const dnn::Tensor* of_y,
                                   void* y, const dnn::Convolution* conv, int algorithm, void* room, size_t bytes, const float* old,
                                   const dnn::Tensor* of_filters, void* filters) {
    LOCKED;
    const dnn::Call call{handle, {*of_x, x}, {*of_filters, filters}, {*of_y, y}, *conv, algorithm, room, bytes, *factor, *old};
    return dnn::put(call, [](const dnn::Call& call) { return call.filters; },
                    [](const dnn::Call& call, auto read, float* sums, size_t x, size_t filter, size_t y) {
                        sums[filter] += read(call.x.get(x)) * read(call.y.get(y));
                    });
}
}  // extern "C"

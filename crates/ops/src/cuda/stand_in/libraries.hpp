// NVRTC and cuBLAS, as far as a step needs them. NVRTC takes any source: the kernels are here already, compiled for the
// host. Products are summed in plain order, of factors rounded to TF32 where that is asked for.
namespace blas {
enum Result { SUCCESS = 0, NOT_INITIALIZED = 1, INVALID_VALUE = 7, NOT_SUPPORTED = 15 };
struct Handle { void* stream; };

struct Matrix {
    const float* at;
    int step;
    bool transposed;
    bool rounds;
    float operator()(int row, int column) const {
        const float value = transposed ? at[(size_t)row * step + column] : at[(size_t)column * step + row];
        return rounds ? emulation::rounded(value) : value;
    }
};
}  // namespace blas

extern "C" {
int nvrtcVersion(int* major, int* minor) { *major = *minor = 0; return 0; }
int nvrtcCreateProgram(void** to, const char* source, const char*, int, const char* const*, const char* const*) {
    *to = new char(!strncmp(source, "#define BF16", 12));
    return 0;
}
int nvrtcDestroyProgram(void** program) { delete (char*)*program; return 0; }
int nvrtcCompileProgram(void*, int, const char* const*) { return 0; }
int nvrtcGetProgramLogSize(void*, size_t* size) { *size = 1; return 0; }
int nvrtcGetProgramLog(void*, char* log) { *log = 0; return 0; }
int nvrtcGetCUBINSize(void*, size_t* size) { *size = sizeof "stand-in"; return 0; }
int nvrtcGetCUBIN(void* program, char* code) {
    memcpy(code, *(char*)program ? "standing" : "stand-in", sizeof "stand-in");
    return 0;
}

int cublasCreate_v2(void** to) {
    LOCKED;
    if (driver::ready()) return blas::NOT_INITIALIZED;
    *to = new blas::Handle{nullptr};
    return 0;
}
int cublasDestroy_v2(void* handle) { delete (blas::Handle*)handle; return 0; }
int cublasSetStream_v2(void* handle, void* stream) { ((blas::Handle*)handle)->stream = stream; return 0; }
int cublasSetWorkspace_v2(void*, void* workspace, size_t bytes) {
    LOCKED;
    return driver::inside(workspace, bytes) ? 0 : blas::INVALID_VALUE;
}
int cublasGemmEx(void* handle, int a_transposed, int b_transposed, int m, int n, int k, const void* alpha, const void* a, int a_type,
                 int a_step, const void* b, int b_type, int b_step, const void* beta, void* c, int c_type, int c_step, int compute, int) {
    LOCKED;
    if (driver::ready()) return blas::NOT_INITIALIZED;
    const int fp32 = 68, tf32 = 77;
    if (a_type || b_type || c_type || (compute != fp32 && compute != tf32)) return blas::NOT_SUPPORTED;
    const bool steps = a_step >= (a_transposed ? k : m) && b_step >= (b_transposed ? n : k) && c_step >= m;
    if (m < 0 || n < 0 || k < 0 || !steps) return blas::INVALID_VALUE;
    const auto bytes = [](int step, int columns) { return 4 * (size_t)step * (size_t)columns; };
    const bool inside = driver::inside(a, bytes(a_step, a_transposed ? m : k)) &&
                        driver::inside(b, bytes(b_step, b_transposed ? k : n)) && driver::inside(c, bytes(c_step, n));
    if (!inside) return blas::INVALID_VALUE;
    const float factor = *(const float*)alpha, old = *(const float*)beta;
    const blas::Matrix left{(const float*)a, a_step, a_transposed != 0, compute == tf32};
    const blas::Matrix right{(const float*)b, b_step, b_transposed != 0, compute == tf32};
    float* to = (float*)c;
    // A product is several kernels at times.
    driver::put(driver::of(((blas::Handle*)handle)->stream), [] {});
    driver::put(driver::of(((blas::Handle*)handle)->stream), [=] {
        for (int j = 0; j < n; ++j)
            for (int i = 0; i < m; ++i) {
                float sum = 0;
                for (int l = 0; l < k; ++l) sum += left(i, l) * right(l, j);
                float& at = to[(size_t)j * c_step + i];
                at = factor * sum + (old == 0 ? 0 : old * at);
            }
    });
    return 0;
}
}  // extern "C"

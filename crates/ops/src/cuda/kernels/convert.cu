// Between tensors and fp32.

// y = x
extern "C" __global__ void widen(const number* x, float* y, int count) {
    for (unsigned int i = thread_index(); i < count; i += thread_count()) y[i] = x[i];
}
// y = x, or y += x
extern "C" __global__ void narrow(const float* x, number* y, int count, int add) {
    for (unsigned int i = thread_index(); i < count; i += thread_count()) put<1>(y + i, load<1>(x + i), add);
}

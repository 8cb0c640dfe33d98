// One step of gradient descent over all parameters in one launch, and the norm of all gradients before it. Blocks take
// runs of one parameter; see crate::optimiser for the rules.

struct __align__(8) Parameter {
    float* values;
    const float* gradient;
    float *first, *second;  // moments; null where the rule has none
    int length, decays;
};
struct __align__(8) Run {
    int parameter, start;
};
#define RUN 4096

// The numbers of a step, in device memory, so that a captured step can use others each time.
struct __align__(8) Step {
    float rate, coupled, left, correction;
};

// found[0] = the norm of all gradients; found[1] = what clipping to `limit` leaves of them.
extern "C" __global__ void __launch_bounds__(256)
    gradient_norm(const Parameter* parameters, const Run* runs, float limit, float* parts, unsigned int* counter,
                  float* found) {
    __shared__ double room[256];
    __shared__ unsigned int flag;
    const Run run = runs[blockIdx.x];
    const Parameter p = parameters[run.parameter];
    const int end = p.length - run.start < RUN ? p.length : run.start + RUN;
    float sum = 0.0f;
    for (int i = run.start + threadIdx.x; i < end; i += 256) sum = fmaf(p.gradient[i], p.gradient[i], sum);
    room[threadIdx.x] = (double)sum;
    __syncthreads();
    for (int step = 128; step > 0; step /= 2) {
        if (threadIdx.x < step) room[threadIdx.x] += room[threadIdx.x + step];
        __syncthreads();
    }
    if (threadIdx.x == 0) parts[blockIdx.x] = (float)room[0];
    if (!last_block(counter, gridDim.x, &flag)) return;
    double total = 0.0;
    for (int i = threadIdx.x; i < gridDim.x; i += 256) total += (double)__ldcg(parts + i);
    room[threadIdx.x] = total;
    __syncthreads();
    for (int step = 128; step > 0; step /= 2) {
        if (threadIdx.x < step) room[threadIdx.x] += room[threadIdx.x + step];
        __syncthreads();
    }
    if (threadIdx.x != 0) return;
    const double norm = sqrt(room[0]);
    found[0] = (float)norm;
    found[1] = norm > limit ? (float)(limit / (norm + 1e-6)) : 1.0f;
}

enum { PLAIN, MOMENTUM, NESTEROV, ADAM };

struct Update {
    int rule;
    float scale, rate, coupled, left, correction, beta1, beta2, epsilon;
    __device__ __forceinline__ void operator()(float& w, float g, float& m, float& v) const {
        g = fmaf(g, scale, w * coupled);
        float by = g;
        if (rule == ADAM) {
            m = fmaf(beta1, m, (1.0f - beta1) * g);
            v = fmaf(beta2, v, (1.0f - beta2) * g * g);
            by = m / fmaf(sqrtf(v), correction, epsilon);
        } else if (rule != PLAIN) {
            m = fmaf(beta1, m, g);
            by = rule == NESTEROV ? fmaf(beta1, m, g) : m;
        }
        w = fmaf(-rate, by, w * left);
    }
};

// `found` may be null: no clipping. `beta1` is the momentum of the first two rules. After a loss that is not finite
// everything stays as it is.
extern "C" __global__ void __launch_bounds__(256)
    optimiser_step(const Parameter* parameters, const Run* runs, const Step* step, const float* loss, const float* found,
                   int rule, float beta1, float beta2, float epsilon) {
    if (!isfinite(*loss)) return;
    const Run run = runs[blockIdx.x];
    const Parameter p = parameters[run.parameter];
    const int end = p.length - run.start < RUN ? p.length : run.start + RUN;
    const Step s = *step;
    const Update update = {rule,         found ? found[1] : 1.0f, s.rate, p.decays ? s.coupled : 0.0f,
                           p.decays ? s.left : 1.0f, s.correction, beta1,  beta2,
                           epsilon};
    const Pack<4> none = splat<4>(0.0f);
    int i = run.start + threadIdx.x * 4;
    for (; i + 4 <= end; i += 1024) {
        Pack<4> w = load<4>(p.values + i), m = p.first ? load<4>(p.first + i) : none;
        Pack<4> v = p.second ? load<4>(p.second + i) : none;
        const Pack<4> g = load<4>(p.gradient + i);
#pragma unroll
        for (int k = 0; k < 4; ++k) update(w.v[k], g.v[k], m.v[k], v.v[k]);
        store(p.values + i, w);
        if (p.first) store(p.first + i, m);
        if (p.second) store(p.second + i, v);
    }
    for (; i < end; ++i) {
        float w = p.values[i], m = p.first ? p.first[i] : 0.0f, v = p.second ? p.second[i] : 0.0f;
        update(w, p.gradient[i], m, v);
        p.values[i] = w;
        if (p.first) p.first[i] = m;
        if (p.second) p.second[i] = v;
    }
}

// The part of the emulation that comes after the kernels: a table of them, `ENTRIES`, has been defined.
namespace emulation {
static const Entry* find(const char* name) {
    for (const Entry& entry : ENTRIES)
        if (!strcmp(entry.name, name)) return &entry;
    return nullptr;
}

// Runs one block to its end; false if its threads do not meet at the same barriers.
static bool run_block(size_t count, bool reversed) {
    for (size_t i = 0; i < count; ++i) {
        fibres[i]->done = false;
        fibres[i]->waits = RUNS;
    }
    if (__start_cuda_shared) memset(__start_cuda_shared, 0xff, (size_t)(__stop_cuda_shared - __start_cuda_shared));
    for (;;) {
        // Warps run until all their threads stand at a block barrier or have ended; then the block goes on.
        size_t done = 0, waiting = 0;
        for (size_t w = 0; w < (count + 31) / 32; ++w) {
            const size_t first = (reversed ? (count + 31) / 32 - 1 - w : w) * 32;
            const size_t lanes = count - first < 32 ? count - first : 32;
            for (bool again = true; again;) {
                size_t at_warp = 0;
                for (size_t l = 0; l < lanes; ++l) {
                    current = first + (reversed ? lanes - 1 - l : l);
                    Fibre& fibre = *fibres[current];
                    if (fibre.done || fibre.waits == BLOCK_BARRIER) continue;
                    go_on(fibre);
                    if (!fibre.done && fibre.waits == WARP_BARRIER) ++at_warp;
                }
                if (at_warp != 0 && at_warp != lanes) return false;
                again = at_warp != 0;
            }
            for (size_t l = first; l < first + lanes; ++l) {
                done += fibres[l]->done;
                waiting += !fibres[l]->done;
                fibres[l]->waits = RUNS;
            }
        }
        if (done == count) return true;
        if (waiting != count) return false;
    }
}
}  // namespace emulation

// 0: ran; 1: no such kernel; 2: the threads of a block part at a barrier.
// With `exact` tensor cores do not round their factors.
extern "C" int emulate(const char* name, const unsigned int* grid, const unsigned int* block, void** arguments, int reversed,
                       int exact) {
    using namespace emulation;
    emulation::exact = exact != 0;
    const Entry* entry = find(name);
    if (!entry) return 1;
    body = entry->call;
    emulation::arguments = arguments;
    gridDim = {grid[0], grid[1], grid[2]};
    blockDim = {block[0], block[1], block[2]};
    const size_t count = (size_t)block[0] * block[1] * block[2];
    while (fibres.size() < count) {
        Fibre* fibre = new Fibre();
        fibre->stack.resize(64 * 1024);
        getcontext(&fibre->start);
        fibre->start.uc_stack.ss_sp = fibre->stack.data();
        fibre->start.uc_stack.ss_size = fibre->stack.size();
        makecontext(&fibre->start, enter, 0);
        fibres.push_back(fibre);
    }
    for (size_t i = 0; i < count; ++i)
        fibres[i]->place = {(unsigned)(i % block[0]), (unsigned)(i / block[0] % block[1]), (unsigned)(i / block[0] / block[1])};
    const size_t blocks = (size_t)grid[0] * grid[1] * grid[2];
    for (size_t i = 0; i < blocks; ++i) {
        const size_t b = reversed ? blocks - 1 - i : i;
        blockIdx = {(unsigned)(b % grid[0]), (unsigned)(b / grid[0] % grid[1]), (unsigned)(b / grid[0] / grid[1])};
        if (!run_block(count, reversed)) {
            fibres.clear();  // They stand in the middle of the kernel.
            return 2;
        }
    }
    return 0;
}

// Writes a letter for each parameter of a kernel, and the bytes of those that are structures.
extern "C" int signature(const char* name, char* letters, int* structure) {
    const emulation::Entry* entry = emulation::find(name);
    if (!entry) return 1;
    entry->kinds(letters, structure);
    return 0;
}

// The part of CUDA's driver that a step needs, on the host: memory, streams, events, graphs, modules and launches.
//
// Work waits in its stream until something waits for it, as late as a GPU may run it, so what relies on an order that
// no stream or event gives goes wrong here. Fresh memory is poisoned with NaN. A call without a current context, one that
// a capture does not allow, and a write beyond an allocation are errors as they are on a GPU.
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <set>

namespace driver {
enum Result {
    SUCCESS = 0, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, NOT_INITIALIZED = 3, NO_DEVICE = 100, INVALID_DEVICE = 101,
    INVALID_CONTEXT = 201, INVALID_HANDLE = 400, NOT_FOUND = 500, ILLEGAL_ADDRESS = 700, LAUNCH_FAILED = 719,
    CAPTURE_UNSUPPORTED = 900, CAPTURE_INVALIDATED = 901,
};
using Task = std::function<void()>;

// Work of a graph, and the earlier nodes that it waits for.
struct Node { Task task; std::vector<size_t> before; bool has_priority = false; };

struct Stream {
    std::deque<Task> waiting;
    size_t taken = 0, done = 0;
    bool captures = false, spoilt = false;
    std::vector<Node> captured;
    // What the next node waits for; handed out as the driver's handles, which count from 1.
    std::vector<void*> before;
};
struct Event { Stream* stream = nullptr; size_t after = 0; };
struct Graph { std::vector<Node> nodes; size_t launches = 0; };
struct Module { bool ours, bf16; };
struct Block { char* start; size_t bytes; };

static std::recursive_mutex turn;
static bool initialised;
static thread_local void* context;
static int primary;
static Stream null_stream;
static Stream* capturing = &null_stream;  // The last one.
static Result failed = SUCCESS;  // Of work that has run; it stays.
static std::map<char*, Block> blocks;
static size_t allocated;
static const size_t GUARD = 256;

inline long long setting(const char* name, long long otherwise) {
    const char* text = getenv(name);
    return text ? atoll(text) : otherwise;
}
inline int version() { return (int)setting("CELLWRIGHT_STAND_IN_DRIVER", 13000); }
inline int capability() { return (int)setting("CELLWRIGHT_STAND_IN_CAPABILITY", 90); }
inline int devices() { return (int)setting("CELLWRIGHT_STAND_IN_DEVICES", 1); }
inline size_t memory() { return (size_t)setting("CELLWRIGHT_STAND_IN_MEMORY", 8ll << 30); }

inline Stream& of(void* stream) { return stream ? *(Stream*)stream : null_stream; }

// Runs a stream's work up to a place in its order.
inline void run(Stream& stream, size_t until) {
    while (stream.done < until && !stream.waiting.empty()) {
        Task task = std::move(stream.waiting.front());
        stream.waiting.pop_front();
        task();
        ++stream.done;
    }
}
inline Result finish(Stream& stream) {
    run(stream, stream.taken);
    return failed;
}
inline void put(Stream& stream, Task task) {
    if (stream.captures) {
        std::vector<size_t> before;
        for (void* node : stream.before) before.push_back((size_t)node - 1);
        stream.captured.push_back({std::move(task), std::move(before)});
        stream.before = {(void*)stream.captured.size()};
        return;
    }
    stream.waiting.push_back(std::move(task));
    ++stream.taken;
}
// An order that a graph's edges allow: by turns as near to that of the capture as can be, and as far from it.
inline std::vector<size_t> some_order(Graph& graph) {
    const bool latest = graph.launches++ % 2 == 0;
    const size_t count = graph.nodes.size();
    std::vector<size_t> missing(count), order;
    std::vector<std::vector<size_t>> behind(count);
    std::set<size_t> ready;
    for (size_t i = 0; i < count; ++i) {
        missing[i] = graph.nodes[i].before.size();
        for (size_t it : graph.nodes[i].before) behind[it].push_back(i);
        if (!missing[i]) ready.insert(i);
    }
    while (!ready.empty()) {
        const size_t next = latest ? *ready.rbegin() : *ready.begin();
        ready.erase(next);
        order.push_back(next);
        for (size_t it : behind[next])
            if (!--missing[it]) ready.insert(it);
    }
    return order;
}
// What no capture allows spoils it.
inline Result outside(Stream& stream) {
    if (!stream.captures) return SUCCESS;
    stream.spoilt = true;
    return CAPTURE_UNSUPPORTED;
}
inline Result ready() {
    if (!initialised) return NOT_INITIALIZED;
    if (!context) return INVALID_CONTEXT;
    return failed;
}

inline Result allocate(unsigned long long* to, size_t bytes) {
    if (allocated + bytes > memory()) return OUT_OF_MEMORY;
    const size_t all = (bytes + 255) / 256 * 256 + 2 * GUARD;
    char* start = (char*)aligned_alloc(256, all);
    if (!start) return OUT_OF_MEMORY;
    memset(start, 0xff, all);
    blocks[start + GUARD] = {start, bytes};
    allocated += bytes;
    *to = (unsigned long long)(start + GUARD);
    return SUCCESS;
}
inline bool whole(const Block& block) {
    for (size_t i = 0; i < GUARD; ++i)
        if (block.start[i] != (char)0xff || block.start[GUARD + block.bytes + i] != (char)0xff) return false;
    return true;
}
inline void release(char* at) {
    const auto found = blocks.find(at);
    if (found == blocks.end() || !whole(found->second)) {
        fprintf(stderr, "stand-in: freed %p, which %s\n", (void*)at, found == blocks.end() ? "was not allocated" : "was overrun");
        failed = ILLEGAL_ADDRESS;
        if (found == blocks.end()) return;
    }
    allocated -= found->second.bytes;
    memset(at, 0xff, found->second.bytes);
    free(found->second.start);
    blocks.erase(found);
}
// Whether an address range lies in one allocation.
inline bool inside(const void* at, size_t bytes) {
    auto found = blocks.upper_bound((char*)at);
    if (found == blocks.begin()) return false;
    --found;
    return (char*)at + bytes <= found->first + found->second.bytes;
}
}  // namespace driver

#define LOCKED std::lock_guard<std::recursive_mutex> held(driver::turn)
#define READY if (const int wrong = driver::ready()) return wrong
using Address = unsigned long long;

extern "C" {
int cuInit(unsigned int) {
    LOCKED;
    if (driver::devices() == 0) return driver::NO_DEVICE;
    driver::initialised = true;
    return 0;
}
int cuDriverGetVersion(int* version) { *version = driver::version(); return 0; }
int cuDeviceGetCount(int* count) { *count = driver::devices(); return driver::initialised ? 0 : driver::NOT_INITIALIZED; }
int cuDeviceGet(int* device, int ordinal) {
    if (!driver::initialised) return driver::NOT_INITIALIZED;
    if (ordinal < 0 || ordinal >= driver::devices()) return driver::INVALID_DEVICE;
    *device = ordinal;
    return 0;
}
int cuDeviceGetName(char* name, int length, int) { snprintf(name, (size_t)length, "stand-in"); return 0; }
int cuDeviceTotalMem_v2(size_t* bytes, int) { *bytes = driver::memory(); return 0; }
int cuDeviceGetAttribute(int* value, int attribute, int) {
    switch (attribute) {
        case 75: *value = driver::capability() / 10; return 0;    // compute capability, major
        case 76: *value = driver::capability() % 10; return 0;    // and minor
        case 115: *value = 1; return 0;   // memory pools
        default: return driver::INVALID_VALUE;
    }
}
int cuDevicePrimaryCtxRetain(void** to, int) { *to = &driver::primary; return 0; }
int cuDevicePrimaryCtxRelease_v2(int) { return 0; }
int cuCtxGetCurrent(void** to) { *to = driver::context; return 0; }
int cuCtxSetCurrent(void* context) { driver::context = context; return 0; }
int cuCtxGetStreamPriorityRange(int* least, int* greatest) { *least = 0; *greatest = -5; return 0; }
int cuCtxSynchronize() {
    LOCKED; READY;
    return driver::finish(driver::null_stream);
}
int cuGetErrorName(int, const char** text) { *text = "stand-in"; return 0; }
int cuGetErrorString(int error, const char** text) {
    static thread_local char found[48];
    snprintf(found, sizeof found, "error %d of the stand-in", error);
    *text = found;
    return 0;
}

int cuMemGetInfo_v2(size_t* left, size_t* total) {
    LOCKED; READY;
    *total = driver::memory();
    *left = *total - driver::allocated;
    return 0;
}
int cuMemAllocAsync(Address* to, size_t bytes, void* stream) {
    LOCKED; READY;
    if (const int wrong = driver::outside(driver::of(stream))) return wrong;
    return driver::allocate(to, bytes);
}
int cuMemAlloc_v2(Address* to, size_t bytes) {
    LOCKED; READY;
    return bytes ? driver::allocate(to, bytes) : driver::INVALID_VALUE;
}
int cuMemAllocManaged(Address* to, size_t bytes, unsigned int) { return cuMemAlloc_v2(to, bytes); }
int cuMemFree_v2(Address at) { LOCKED; READY; driver::release((char*)at); return driver::failed; }
int cuMemFreeAsync(Address at, void* stream) {
    LOCKED; READY;
    driver::put(driver::of(stream), [=] { driver::release((char*)at); });
    return 0;
}
int cuMemcpyHtoDAsync_v2(Address to, const void* from, size_t bytes, void* stream) {
    LOCKED; READY;
    if (const int wrong = driver::outside(driver::of(stream))) return wrong;
    if (!driver::inside((void*)to, bytes)) return driver::INVALID_VALUE;
    // The driver has read pageable memory when it returns.
    std::vector<char> copy((const char*)from, (const char*)from + bytes);
    driver::put(driver::of(stream), [=] { memcpy((void*)to, copy.data(), bytes); });
    return 0;
}
int cuMemcpyDtoHAsync_v2(void* to, Address from, size_t bytes, void* stream) {
    LOCKED; READY;
    if (const int wrong = driver::outside(driver::of(stream))) return wrong;
    if (!driver::inside((void*)from, bytes)) return driver::INVALID_VALUE;
    const int wrong = driver::finish(driver::of(stream));
    memcpy(to, (void*)from, bytes);
    return wrong;
}
int cuMemcpyHtoD_v2(Address to, const void* from, size_t bytes) {
    const int wrong = cuMemcpyHtoDAsync_v2(to, from, bytes, nullptr);
    LOCKED;
    return wrong ? wrong : driver::finish(driver::null_stream);
}
int cuMemcpyDtoH_v2(void* to, Address from, size_t bytes) { return cuMemcpyDtoHAsync_v2(to, from, bytes, nullptr); }
int cuMemcpyDtoDAsync_v2(Address to, Address from, size_t bytes, void* stream) {
    LOCKED; READY;
    if (!driver::inside((void*)to, bytes) || !driver::inside((void*)from, bytes)) return driver::INVALID_VALUE;
    driver::put(driver::of(stream), [=] { memmove((void*)to, (void*)from, bytes); });
    return 0;
}
int cuMemcpyDtoD_v2(Address to, Address from, size_t bytes) { return cuMemcpyDtoDAsync_v2(to, from, bytes, nullptr); }
int cuMemsetD8Async(Address to, unsigned char value, size_t bytes, void* stream) {
    LOCKED; READY;
    if (!driver::inside((void*)to, bytes)) return driver::INVALID_VALUE;
    driver::put(driver::of(stream), [=] { memset((void*)to, value, bytes); });
    return 0;
}
int cuMemsetD8_v2(Address to, unsigned char value, size_t bytes) { return cuMemsetD8Async(to, value, bytes, nullptr); }
int cuMemsetD32Async(Address to, unsigned int value, size_t count, void* stream) {
    LOCKED; READY;
    if (!driver::inside((void*)to, 4 * count)) return driver::INVALID_VALUE;
    driver::put(driver::of(stream), [=] { for (size_t i = 0; i < count; ++i) ((unsigned int*)to)[i] = value; });
    return 0;
}

int cuStreamCreate(void** to, unsigned int) { LOCKED; READY; *to = new driver::Stream(); return 0; }
int cuStreamDestroy_v2(void* stream) {
    LOCKED; READY;
    // It is kept, as events may name it.
    return driver::finish(driver::of(stream));
}
int cuStreamSynchronize(void* stream) {
    LOCKED; READY;
    if (const int wrong = driver::outside(driver::of(stream))) return wrong;
    return driver::finish(driver::of(stream));
}
int cuEventCreate(void** to, unsigned int) { LOCKED; READY; *to = new driver::Event(); return 0; }
int cuEventDestroy_v2(void* event) { LOCKED; delete (driver::Event*)event; return 0; }
int cuEventRecord(void* event, void* stream) {
    LOCKED; READY;
    if (const int wrong = driver::outside(driver::of(stream))) return wrong;
    *(driver::Event*)event = {&driver::of(stream), driver::of(stream).taken};
    return 0;
}
int cuStreamWaitEvent(void* stream, void* event, unsigned int) {
    LOCKED; READY;
    const driver::Event of = *(driver::Event*)event;
    if (of.stream && of.stream != &driver::of(stream)) driver::put(driver::of(stream), [=] { driver::run(*of.stream, of.after); });
    return 0;
}
int cuEventSynchronize(void* event) {
    LOCKED; READY;
    const driver::Event of = *(driver::Event*)event;
    if (of.stream) driver::run(*of.stream, of.after);
    return driver::failed;
}
int cuEventQuery(void* event) { return cuEventSynchronize(event); }

int cuStreamBeginCapture_v2(void* stream, int) {
    LOCKED; READY;
    // The legacy null stream is never captured.
    if (!stream) return driver::CAPTURE_UNSUPPORTED;
    driver::Stream& of = driver::of(stream);
    of.captures = true;
    driver::capturing = &of;
    of.spoilt = false;
    of.captured.clear();
    of.before.clear();
    return 0;
}
int cuStreamGetCaptureInfo_v3(void* stream, int* status, unsigned long long*, void**, void* const** nodes, const void** edges,
                              size_t* count) {
    LOCKED; READY;
    const driver::Stream& of = driver::of(stream);
    *status = !of.captures ? 0 : of.spoilt ? 2 : 1;
    *nodes = of.before.data();
    *edges = nullptr;
    *count = of.before.size();
    return 0;
}
int cuStreamUpdateCaptureDependencies_v2(void* stream, void** nodes, const void*, size_t count, unsigned int flags) {
    LOCKED; READY;
    driver::Stream& of = driver::of(stream);
    if (!of.captures || flags > 1) return driver::INVALID_VALUE;
    if (flags == 1) of.before.clear();
    for (size_t i = 0; i < count; ++i) {
        if ((size_t)nodes[i] - 1 >= of.captured.size()) return driver::INVALID_VALUE;
        of.before.push_back(nodes[i]);
    }
    return 0;
}
int cuStreamIsCapturing(void* stream, int* status) { LOCKED; *status = driver::of(stream).captures; return 0; }
int cuStreamEndCapture(void* stream, void** graph) {
    LOCKED; READY;
    driver::Stream& of = driver::of(stream);
    *graph = nullptr;
    if (!of.captures) return driver::INVALID_VALUE;
    of.captures = false;
    if (of.spoilt) return driver::CAPTURE_INVALIDATED;
    for (const driver::Node& node : of.captured)
        if (!node.has_priority) abort();
    *graph = new driver::Graph{std::move(of.captured)};
    return 0;
}
int cuGraphNodeGetType(void*, int* kind) { *kind = 0; return 0; }
int cuGraphNodeGetDependencies_v2(void* node, void** nodes, void*, size_t* count) {
    LOCKED; READY;
    const std::vector<size_t>& before = driver::capturing->captured[(size_t)node - 1].before;
    for (size_t i = 0; i < *count; ++i) nodes[i] = i < before.size() ? (void*)(before[i] + 1) : nullptr;
    *count = std::min(*count, before.size());
    return 0;
}
int cuGraphKernelNodeSetAttribute(void* node, int attribute, const int* priority) {
    LOCKED; READY;
    if (!node || attribute != 8 || *priority > 0 || *priority < -5) abort();
    driver::capturing->captured[(size_t)node - 1].has_priority = true;
    return 0;
}
int cuGraphInstantiateWithFlags(void** to, void* graph, unsigned long long flags) {
    LOCKED; READY;
    // Priorities are of no use without this.
    if (flags != 8) return driver::INVALID_VALUE;
    *to = new driver::Graph(*(driver::Graph*)graph);
    return 0;
}
int cuGraphLaunch(void* graph, void* stream) {
    LOCKED; READY;
    if (const int wrong = driver::outside(driver::of(stream))) return wrong;
    driver::Graph& of = *(driver::Graph*)graph;
    for (size_t node : driver::some_order(of)) driver::put(driver::of(stream), of.nodes[node].task);
    return 0;
}
int cuGraphDestroy(void* graph) { LOCKED; delete (driver::Graph*)graph; return 0; }
int cuGraphExecDestroy(void* graph) { return cuGraphDestroy(graph); }

int cuModuleLoadData(void** to, const void* image) {
    LOCKED; READY;
    const bool bf16 = !strcmp((const char*)image, "standing");
    *to = new driver::Module{bf16 || !strcmp((const char*)image, "stand-in"), bf16};
    return 0;
}
int cuModuleUnload(void* module) { LOCKED; delete (driver::Module*)module; return 0; }
int cuModuleGetFunction(void** to, void* module, const char* name) {
    LOCKED; READY;
    const driver::Module& from = *(driver::Module*)module;
    const emulation::Entry* entry = from.ours ? emulation::find(((from.bf16 ? "bf16 " : "") + std::string(name)).c_str()) : nullptr;
    if (!entry) return driver::NOT_FOUND;
    *to = (void*)entry;
    return 0;
}
int cuLaunchKernel(const void* function, unsigned int gx, unsigned int gy, unsigned int gz, unsigned int bx, unsigned int by,
                   unsigned int bz, unsigned int, void* stream, void** arguments, void**) {
    LOCKED; READY;
    const bool fits = gx && gy && gz && gx <= 0x7fffffff && gy <= 65535 && gz <= 65535 && bx && by && bz && bx * by * bz <= 1024;
    if (!fits) return driver::INVALID_VALUE;
    const emulation::Entry* entry = (const emulation::Entry*)function;
    // Arguments are copied at once; the kernel runs when it may.
    std::vector<std::vector<char>> values;
    for (size_t size : entry->sizes()) {
        const char* from = (const char*)arguments[values.size()];
        values.emplace_back(from, from + size);
    }
    driver::put(driver::of(stream), [=] {
        std::vector<void*> at;
        for (const auto& value : values) at.push_back((void*)value.data());
        const unsigned int grid[] = {gx, gy, gz}, block[] = {bx, by, bz};
        if (emulate(entry->name, grid, block, at.data(), 0, 0)) driver::failed = driver::LAUNCH_FAILED;
    });
    return 0;
}
}  // extern "C"

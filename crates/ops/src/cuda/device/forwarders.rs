//! CUDA's functions that dfdx links, as forwarders to the libraries that are loaded when a device is first asked for.
//!
//! Without these a binary with the feature `cuda` would not start where a library is missing, not even for the CPU.
//! A function is a jump through its slot, whatever its arguments are. Before [`resolve`] has filled the slots a call
//! gives 3, CUDA's "not initialised", which is an error for NVRTC and cuBLAS too.

use std::ffi::{CStr, c_void};
use std::sync::atomic::{AtomicUsize, Ordering};

macro_rules! jump {
    ($name:ident) => {
        concat!(
            "jmp qword ptr [rip + cellwright_slot_",
            stringify!($name),
            "]\n"
        )
    };
}
macro_rules! missing {
    () => {
        "mov eax, 3\nret\n"
    };
}

macro_rules! forwarders {
    ($($name:ident)*) => {
        /// The functions, in the order of their slots.
        const NAMES: &[&CStr] = &[$(
            match CStr::from_bytes_with_nul(concat!(stringify!($name), "\0").as_bytes()) {
                Ok(name) => name,
                Err(_) => c"",
            }
        ),*];

        std::arch::global_asm!(
            ".section .text.cellwright_forwarders,\"ax\",@progbits\n.p2align 4\ncellwright_missing:\n",
            missing!(),
            $(concat!(
                ".globl ", stringify!($name), "\n.hidden ", stringify!($name), "\n.type ", stringify!($name), ",@function\n",
                ".p2align 4\n", stringify!($name), ":\n", jump!($name)
            ),)*
            ".section .data.cellwright_slots,\"aw\",@progbits\n.p2align 3\n.globl cellwright_slots\ncellwright_slots:\n",
            $(concat!("cellwright_slot_", stringify!($name), ": .quad cellwright_missing\n"),)*
            ".text\n"
        );
    };
}

forwarders! {
    cuCtxGetCurrent
    cuCtxSetCurrent
    cuDestroyExternalMemory
    cuDeviceGet
    cuDeviceGetAttribute
    cuDeviceGetCount
    cuDevicePrimaryCtxRelease_v2
    cuDevicePrimaryCtxRetain
    cuDeviceTotalMem_v2
    cuEventCreate
    cuEventDestroy_v2
    cuEventElapsedTime
    cuEventQuery
    cuEventRecord
    cuExternalMemoryGetMappedBuffer
    cuGetErrorName
    cuGetErrorString
    cuImportExternalMemory
    cuInit
    cuLaunchKernel
    cuMemAllocAsync
    cuMemAlloc_v2
    cuMemFreeAsync
    cuMemFree_v2
    cuMemGetInfo_v2
    cuMemcpyDtoDAsync_v2
    cuMemcpyDtoD_v2
    cuMemcpyDtoHAsync_v2
    cuMemcpyDtoH_v2
    cuMemcpyHtoDAsync_v2
    cuMemcpyHtoD_v2
    cuMemsetD8Async
    cuMemsetD8_v2
    cuModuleGetFunction
    cuModuleLoad
    cuModuleLoadData
    cuModuleUnload
    cuOccupancyAvailableDynamicSMemPerBlock
    cuOccupancyMaxActiveBlocksPerMultiprocessor
    cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags
    cuOccupancyMaxActiveClusters
    cuOccupancyMaxPotentialBlockSize
    cuOccupancyMaxPotentialBlockSizeWithFlags
    cuOccupancyMaxPotentialClusterSize
    cuProfilerStart
    cuProfilerStop
    cuStreamCreate
    cuStreamDestroy_v2
    cuStreamSynchronize
    cuStreamWaitEvent
    nvrtcCompileProgram
    nvrtcCreateProgram
    nvrtcDestroyProgram
    nvrtcGetPTX
    nvrtcGetPTXSize
    nvrtcGetProgramLog
    nvrtcGetProgramLogSize
    cublasCreate_v2
    cublasDestroy_v2
    cublasDgemmStridedBatched
    cublasDgemm_v2
    cublasDgemv_v2
    cublasGemmEx
    cublasGemmStridedBatchedEx
    cublasHgemm
    cublasHgemmStridedBatched
    cublasSetStream_v2
    cublasSgemmStridedBatched
    cublasSgemm_v2
    cublasSgemv_v2
}

unsafe extern "C" {
    /// An address for each of [`NAMES`].
    #[link_name = "cellwright_slots"]
    static SLOTS: [AtomicUsize; NAMES.len()];
}

/// Fills the slots with the functions of loaded libraries, of which `find` gives the address.
pub(super) fn resolve(find: impl Fn(&CStr) -> Option<*mut c_void>) {
    // SAFETY: the slots are as many words in writable memory, one for each name, used in no other way.
    let slots = unsafe { &SLOTS };
    for (name, slot) in NAMES.iter().zip(slots) {
        if let Some(found) = find(name) {
            slot.store(found.expose_provenance(), Ordering::Relaxed);
        }
    }
}

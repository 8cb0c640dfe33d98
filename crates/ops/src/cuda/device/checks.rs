//! What the checks of the kernels need of a device: memory that it shares with the host, and single launches.

use std::ffi::c_void;

use cudarc::driver::{result, sys};

use super::{Device, Error};
use crate::cuda::Launch;

/// Memory that host and device see at one address.
pub(crate) struct Shared(sys::CUdeviceptr);

impl Shared {
    /// Its address.
    pub(crate) fn start(&self) -> *mut u8 {
        std::ptr::with_exposed_provenance_mut(self.0 as usize)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // SAFETY: no launch that uses it is under way: each is waited for. What cannot be freed ends with the process.
        let _ = unsafe { result::free_sync(self.0) };
    }
}

impl Device {
    /// `bytes` bytes of shared memory.
    pub(crate) fn share(&self, bytes: usize) -> Result<Shared, Error> {
        let bound = self.context.bind_to_thread();
        bound.map_err(Error::driver("choosing the GPU"))?;
        let flags = sys::CUmemAttach_flags::CU_MEM_ATTACH_GLOBAL;
        // SAFETY: the memory is written before it is read.
        let found = unsafe { result::malloc_managed(bytes, flags) };
        found.map(Shared).map_err(Error::driver("sharing memory"))
    }

    /// Runs a launch whose arguments have been checked, and waits for its end.
    pub(crate) fn run(&self, launch: &Launch) -> Result<(), Error> {
        let _turn = self.turn();
        let bound = self.context.bind_to_thread();
        bound.map_err(Error::driver("choosing the GPU"))?;
        let function = self.function(launch)?;
        let arguments = launch.arguments.iter();
        let mut arguments: Vec<*mut c_void> = arguments.map(|a| a.address().cast_mut()).collect();
        let ([x, y, z], [bx, by, bz]) = (launch.grid, launch.block);
        let stream = self.stream.cu_stream();
        // SAFETY: the arguments are of the kernel's types and name shared memory that lives in the caller.
        let launched = unsafe {
            let function = function.cu_function();
            result::launch_kernel(function, (x, y, z), (bx, by, bz), 0, stream, &mut arguments)
        };
        launched.map_err(Error::driver(launch.kernel))?;
        let done = self.stream.synchronize();
        done.map_err(Error::driver(launch.kernel))
    }
}

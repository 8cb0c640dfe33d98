//! A CUDA device: its libraries, the compiled kernels, and programs that run there.

mod capture;
#[cfg(test)]
mod checks;
mod compiler;
mod cudnn;
mod executor;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod forwarders;
mod kept;
pub mod libraries;
mod memory;

use std::ffi::c_void;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock};

use cudarc::cublas::{CudaBlas, sys as blas_sys};
use cudarc::driver::{
    CudaContext, CudaFunction, CudaModule, CudaSlice, CudaStream, DevicePtr, sys,
};
use cudarc::nvrtc::Ptx;
use parking_lot::{ReentrantMutex, ReentrantMutexGuard};

#[cfg(test)]
pub(crate) use checks::Shared;
use cudnn::Cudnn;
pub use cudnn::WORKSPACE as CUDNN_WORKSPACE;
pub use executor::{DeviceExecutor, Modes, Replay};
pub use kept::Kept;

use super::Launch;
use super::script::LANES;
use crate::program::Precision;

/// Why a device does not do what it should.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A library is missing.
    #[error("{file} ({what}) was not found in {}", listed(searched))]
    Library {
        /// Its file name.
        file: &'static str,
        /// What it is for.
        what: &'static str,
        /// The folders that were searched beside the system's own.
        searched: Vec<PathBuf>,
    },
    /// The driver or the GPU is older than the CUDA that the kernels are compiled with.
    #[error("{what} is of {found}, and {needed}")]
    Old {
        /// What is old.
        what: &'static str,
        /// Of which version it is.
        found: String,
        /// What needs which version, and how to come by it.
        needed: &'static str,
    },
    /// NVRTC does not compile the kernels.
    #[error("the kernels do not compile: {0}")]
    Compiler(String),
    /// The driver refuses something.
    #[error("{doing}: {reason}")]
    Driver {
        /// What was being done.
        doing: &'static str,
        /// What the driver says.
        reason: String,
    },
    /// A program needs more memory than is free.
    #[error("out of memory: a step needs {needed} MiB on the GPU, {free} MiB are free")]
    Memory {
        /// What it needs, in MiB.
        needed: usize,
        /// What is free, in MiB.
        free: usize,
    },
    /// A program does not fit the device.
    #[error(transparent)]
    Program(#[from] crate::Error),
}

fn listed(folders: &[PathBuf]) -> String {
    if folders.is_empty() {
        return "any known folder".to_owned();
    }
    let names = folders.iter().map(|it| it.display().to_string());
    names.collect::<Vec<_>>().join(", ")
}

impl Error {
    /// For `map_err`.
    fn driver<E: std::fmt::Debug>(doing: &'static str) -> impl Fn(E) -> Self {
        move |reason| Self::Driver {
            doing,
            reason: format!("{reason:?}"),
        }
    }
}

impl From<Error> for crate::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Program(error) => error,
            other => crate::Error::device(other),
        }
    }
}

/// One GPU with the compiled kernels, a stream of our own, and cuBLAS on it.
pub struct Device {
    context: Arc<CudaContext>,
    stream: Arc<CudaStream>,
    /// The kernels for tensors in fp32, and those for bfloat16, loaded when they are first wanted.
    modules: [OnceLock<Arc<CudaModule>>; 2],
    capability: [i32; 2],
    blas: CudaBlas,
    /// What cuBLAS computes in, so that it allocates nothing in a captured step.
    workspaces: Vec<CudaSlice<u8>>,
    /// Loaded when it is first wanted; none where it is not found.
    cudnn: OnceLock<Option<Cudnn>>,
    priorities: capture::Priorities,
    /// Whether products of TF32 factors are to be had: compute capability 8.0.
    tensor_cores: bool,
    /// The stream and the libraries are used by one thread at a time.
    turn: ReentrantMutex<()>,
}

/// Bytes of each of cuBLAS's workspaces: what NVIDIA recommends for Hopper. With 8 MiB, cuBLAS 13 makes
/// gradients of weights of a fraction of the blocks, five times as slowly.
const WORKSPACE: usize = 32 << 20;

impl std::fmt::Debug for Device {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Device")
            .field("ordinal", &self.context.ordinal())
            .finish_non_exhaustive()
    }
}

/// The driver must be of CUDA 13: an older one lacks functions, and refuses kernels that a newer NVRTC compiles.
fn check_driver() -> Result<(), Error> {
    let mut version = 0;
    // SAFETY: the number may be written.
    let asked = unsafe { sys::cuDriverGetVersion(&mut version) };
    asked
        .result()
        .map_err(Error::driver("asking for the driver's version"))?;
    if version >= 13_000 {
        return Ok(());
    }
    Err(Error::Old {
        what: "the NVIDIA driver",
        found: format!("CUDA {}.{}", version / 1000, version % 1000 / 10),
        needed: "CUDA 13 needs driver 580 or newer: update it",
    })
}

/// NVRTC 13 compiles for Turing and what came after it.
fn check_capability(major: i32, minor: i32) -> Result<(), Error> {
    if (major, minor) >= (7, 5) {
        return Ok(());
    }
    Err(Error::Old {
        what: "the GPU",
        found: format!("compute capability {major}.{minor}"),
        needed: "CUDA 13 needs 7.5 (Turing) or newer",
    })
}

impl Device {
    /// The device of a number; libraries are loaded and kernels compiled when it is first asked for.
    ///
    /// # Errors
    /// [`Error::Library`], [`Error::Old`], [`Error::Compiler`], [`Error::Driver`].
    pub fn get(ordinal: usize) -> Result<Arc<Self>, Error> {
        static DEVICES: Mutex<Vec<(usize, Arc<Device>)>> = Mutex::new(Vec::new());
        let mut devices = DEVICES
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some((_, device)) = devices.iter().find(|(it, _)| *it == ordinal) {
            return Ok(Arc::clone(device));
        }
        let device = Arc::new(Self::open(ordinal)?);
        devices.push((ordinal, Arc::clone(&device)));
        Ok(device)
    }

    fn open(ordinal: usize) -> Result<Self, Error> {
        libraries::load()?;
        check_driver()?;
        let context = CudaContext::new(ordinal).map_err(Error::driver("opening the GPU"))?;
        // One stream has all work, and a captured step its own order, so buffers need no events.
        // SAFETY: no buffer of this context is used on two streams.
        unsafe { context.disable_event_tracking() };
        let capability = context.compute_capability();
        let (major, minor) = capability.map_err(Error::driver("asking for the GPU's kind"))?;
        check_capability(major, minor)?;
        let stream = context.new_stream();
        let stream = stream.map_err(Error::driver("making a stream"))?;
        let blas = CudaBlas::new(Arc::clone(&stream)).map_err(Error::driver("starting cuBLAS"))?;
        let workspaces = (0..LANES).map(|_| stream.alloc_zeros::<u8>(WORKSPACE));
        let workspaces = workspaces.collect::<Result<_, _>>();
        let device = Self {
            modules: Default::default(),
            capability: [major, minor],
            blas,
            workspaces: workspaces.map_err(Error::driver("memory for cuBLAS"))?,
            cudnn: OnceLock::new(),
            priorities: capture::Priorities::of_context(),
            tensor_cores: major >= 8,
            turn: ReentrantMutex::new(()),
            context,
            stream,
        };
        device.module(false)?;
        Ok(device)
    }

    /// What it computes in where it is asked for a precision: TF32 is fp32 where there are no tensor cores for it.
    #[must_use]
    pub fn computes_in(&self, precision: Precision) -> Precision {
        match precision {
            Precision::Tf32 if !self.tensor_cores => Precision::Fp32,
            other => other,
        }
    }

    /// Whether it computes in a precision or in its stead in another ([`Device::computes_in`]).
    ///
    /// # Errors
    /// [`Error::Old`] where there is no bfloat16, [`Error::Compiler`] and [`Error::Driver`] where its kernels do not compile.
    pub fn check(&self, precision: Precision) -> Result<(), Error> {
        if precision != Precision::Bf16 {
            return Ok(());
        }
        if self.tensor_cores {
            return self.module(true).map(drop);
        }
        let [major, minor] = self.capability;
        Err(Error::Old {
            what: "the GPU",
            found: format!("compute capability {major}.{minor}"),
            needed: "bf16 needs 8.0 (Ampere) or newer: take --precision fp32",
        })
    }

    fn module(&self, bf16: bool) -> Result<&Arc<CudaModule>, Error> {
        let module = &self.modules[usize::from(bf16)];
        if let Some(loaded) = module.get() {
            return Ok(loaded);
        }
        let cubin = compiler::cubin(self.capability, bf16)?;
        let loaded = self.context.load_module(Ptx::from_binary(cubin));
        let loaded = loaded.map_err(Error::driver("loading the kernels"))?;
        Ok(module.get_or_init(|| loaded))
    }

    /// The kernel of a launch.
    fn function(&self, launch: &Launch) -> Result<CudaFunction, Error> {
        let function = self.module(launch.bf16)?.load_function(launch.kernel);
        function.map_err(Error::driver("finding a kernel"))
    }

    /// Waits for the turn to use the stream and the libraries; who has it may take it again.
    fn turn(&self) -> ReentrantMutexGuard<'_, ()> {
        self.turn.lock()
    }

    /// Gives cuBLAS one of its workspaces for the next product; the caller has the turn.
    fn compute_in(&self, lane: usize) -> Result<(), Error> {
        let (address, _guard) = self.workspaces[lane].device_ptr(&self.stream);
        let handle = *self.blas.handle();
        // SAFETY: the workspace lives as long as the handle.
        let set =
            unsafe { blas_sys::cublasSetWorkspace_v2(handle, address as *mut c_void, WORKSPACE) };
        set.result().map_err(Error::driver("memory for cuBLAS"))
    }

    /// cuDNN on this device; the caller has the turn.
    fn cudnn(&self) -> Result<Option<&Cudnn>, Error> {
        if self.cudnn.get().is_none() {
            let bound = self.context.bind_to_thread();
            bound.map_err(Error::driver("choosing the GPU"))?;
            let opened = Cudnn::open(self)?;
            return Ok(self.cudnn.get_or_init(|| opened).as_ref());
        }
        Ok(self.cudnn.get().and_then(Option::as_ref))
    }

    /// Free and total memory in bytes.
    ///
    /// # Errors
    /// [`Error::Driver`].
    pub fn memory(&self) -> Result<(usize, usize), Error> {
        let found = self.context.mem_get_info();
        found.map_err(Error::driver("asking for free memory"))
    }
}

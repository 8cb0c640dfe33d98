//! What runs on a CUDA device.
//!
//! [`kernels`] holds the CUDA C++ and, for each operation, the [`Launch`] that its sizes ask for. Both are plain data
//! without CUDA types, so the tests run the very launches on the host (`emulation`).

#[cfg(feature = "cuda")]
pub mod device;
#[cfg(all(test, target_os = "linux", target_env = "gnu"))]
mod emulation;
pub mod kernels;
pub mod launch;
pub mod script;
#[cfg(all(
    any(test, feature = "ci-check"),
    target_os = "linux",
    target_env = "gnu"
))]
pub mod stand_in;

pub use launch::{Argument, Launch, Pointer};

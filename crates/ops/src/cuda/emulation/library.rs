//! The kernels compiled for the host and loaded.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::sync::{Mutex, OnceLock};

use crate::cuda::Launch;
use crate::cuda::stand_in::{self, Source};

type Emulate = unsafe extern "C" fn(
    *const c_char,
    *const u32,
    *const u32,
    *mut *mut c_void,
    c_int,
    c_int,
) -> c_int;
type Signature = unsafe extern "C" fn(*const c_char, *mut c_char, *mut c_int) -> c_int;

/// The loaded library.
pub(super) struct Library {
    emulate: Emulate,
    signature: Signature,
    /// The kernels' names.
    pub(super) kernels: Vec<String>,
}

/// The library, made once; none, with a message, without a C++ compiler.
pub(super) fn get() -> Option<&'static Library> {
    static LIBRARY: OnceLock<Option<Library>> = OnceLock::new();
    LIBRARY.get_or_init(build).as_ref()
}

fn build() -> Option<Library> {
    if !stand_in::is_possible() {
        eprintln!("skipped: no C++ compiler to run the CUDA kernels on the host");
        return None;
    }
    let folder = std::env::temp_dir().join(format!("cellwright-kernels-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let source = Source::new(&folder).unwrap();
    source.compile(&folder, "", "kernels.so").unwrap();
    let library = folder.join("kernels.so");
    let kernels = source.kernels;
    let library = library.to_str().unwrap();
    let path = CString::new(library).unwrap();
    // SAFETY: the library has no initialisers beside those of its own static data.
    let handle = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW) };
    assert!(!handle.is_null(), "the library does not load");
    std::fs::remove_dir_all(&folder).unwrap();
    let symbol = |name: &CStr| {
        // SAFETY: the handle is that of a loaded library, which is never unloaded.
        let address = unsafe { libc::dlsym(handle, name.as_ptr()) };
        assert!(!address.is_null());
        address
    };
    // SAFETY: the functions have these types in scheduler.hpp.
    unsafe {
        Some(Library {
            emulate: std::mem::transmute::<*mut c_void, Emulate>(symbol(c"emulate")),
            signature: std::mem::transmute::<*mut c_void, Signature>(symbol(c"signature")),
            kernels,
        })
    }
}

impl Library {
    /// A letter for each parameter of a kernel, and the bytes of those that are structures.
    pub(super) fn signature(&self, kernel: &str) -> (String, usize) {
        let name = CString::new(kernel).unwrap();
        let mut letters = [0; 64];
        let mut size = 0;
        // SAFETY: no kernel has as many as 64 parameters.
        let status = unsafe { (self.signature)(name.as_ptr(), letters.as_mut_ptr(), &mut size) };
        assert_eq!(status, 0, "there is no kernel {kernel}");
        // SAFETY: the function has written a string.
        let letters = unsafe { CStr::from_ptr(letters.as_ptr()) };
        (letters.to_str().unwrap().to_owned(), size as usize)
    }

    /// Runs a launch whose arguments have been checked; one at a time.
    pub(super) fn launch(&self, launch: &Launch, reversed: bool, exact: bool) {
        static TURN: Mutex<()> = Mutex::new(());
        let _turn = TURN.lock().unwrap_or_else(|e| e.into_inner());
        let prefix = if launch.bf16 { stand_in::BF16 } else { "" };
        let name = CString::new(format!("{prefix}{}", launch.kernel)).unwrap();
        let arguments = launch.arguments.iter();
        let mut arguments: Vec<_> = arguments.map(|a| a.address().cast_mut()).collect();
        // SAFETY: the arguments are of the kernel's types, and their buffers live in the caller.
        let status = unsafe {
            (self.emulate)(
                name.as_ptr(),
                launch.grid.as_ptr(),
                launch.block.as_ptr(),
                arguments.as_mut_ptr(),
                reversed.into(),
                exact.into(),
            )
        };
        assert_eq!(status, 0, "{}: threads part at a barrier", launch.kernel);
    }
}

//! Finds the driver, NVRTC, cuBLAS and cuDNN where CUDA and Python's nvidia packages put them, and loads them.
//!
//! A library that is loaded by its path is found again by its name, so what looks for it later needs
//! no LD_LIBRARY_PATH.

use std::ffi::c_void;
use std::path::{Path, PathBuf};

use super::Error;

/// A library that a step needs: its file, and what it is for.
struct Library {
    file: &'static str,
    what: &'static str,
}

/// In the order in which they are loaded: cuBLAS needs cuBLASLt.
const LIBRARIES: [Library; 5] = [
    Library {
        file: "libcuda.so.1",
        what: "the NVIDIA driver",
    },
    Library {
        file: "libnvrtc-builtins.so.13.0",
        what: "NVRTC's built-in headers",
    },
    Library {
        file: "libnvrtc.so.13",
        what: "NVRTC, which compiles the kernels",
    },
    Library {
        file: "libcublasLt.so.13",
        what: "cuBLASLt, for matrix products",
    },
    Library {
        file: "libcublas.so.13",
        what: "cuBLAS, for matrix products",
    },
];

/// The folders that are searched, in order, without repetition.
#[must_use]
pub fn folders() -> Vec<PathBuf> {
    let variable = |name: &str| std::env::var_os(name);
    let mut found: Vec<PathBuf> = Vec::new();
    for name in ["CUDA_PATH", "CUDA_HOME", "CUDA_ROOT"] {
        if let Some(root) = variable(name) {
            found.push(Path::new(&root).join("lib64"));
            found.push(Path::new(&root).join("lib"));
        }
    }
    if let Some(paths) = variable("LD_LIBRARY_PATH") {
        found.extend(std::env::split_paths(&paths));
    }
    found.extend(python());
    found.push(PathBuf::from("/usr/local/cuda/lib64"));
    found.push(PathBuf::from("/usr/lib/x86_64-linux-gnu"));
    let mut seen = Vec::new();
    for folder in found {
        if folder.is_dir() && !seen.contains(&folder) {
            seen.push(folder);
        }
    }
    seen
}

/// The libraries' folders in the site-packages of the virtual environment, of the first Python of the
/// PATH, of the user and the system.
fn python() -> Vec<PathBuf> {
    let roots = ["VIRTUAL_ENV", "CONDA_PREFIX"].map(std::env::var_os);
    let mut roots: Vec<PathBuf> = roots.into_iter().flatten().map(PathBuf::from).collect();
    if let Some(paths) = std::env::var_os("PATH") {
        let mut programs = std::env::split_paths(&paths);
        let first = programs.find(|folder| folder.join("python3").is_file());
        roots.extend(first.and_then(|it| it.parent().map(PathBuf::from)));
    }
    if let Some(home) = std::env::var_os("HOME") {
        roots.push(Path::new(&home).join(".local"));
    }
    roots.extend(["/usr/local", "/usr", "/opt/conda"].map(PathBuf::from));
    let mut found = Vec::new();
    for root in roots {
        let Ok(entries) = std::fs::read_dir(root.join("lib")) else {
            continue;
        };
        let mut versions: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        versions.sort();
        for version in versions {
            for packages in ["site-packages", "dist-packages"] {
                let nvidia = version.join(packages).join("nvidia");
                found.push(nvidia.join("cu13/lib"));
                found.push(nvidia.join("cudnn/lib"));
            }
        }
    }
    found
}

/// Loads a library from the first folder that has it, else by its name alone.
fn find(file: &str, folders: &[PathBuf]) -> Option<*mut c_void> {
    let found = folders.iter().map(|folder| folder.join(file));
    let mut found = found.filter(|path| path.is_file());
    let handle = found.find_map(|path| open(&path));
    handle.or_else(|| open(Path::new(file)))
}

/// Loads cuDNN 9, which dense convolutions are faster with; whether it is there.
pub(super) fn load_cudnn() -> bool {
    find("libcudnn.so.9", &folders()).is_some()
}

/// Loads all libraries; those that the system finds by their names alone are left to it.
///
/// # Errors
/// [`Error::Library`] with what is missing and where it was looked for.
pub fn load() -> Result<(), Error> {
    let folders = folders();
    let mut handles = Vec::with_capacity(LIBRARIES.len());
    for library in &LIBRARIES {
        match find(library.file, &folders) {
            Some(handle) => handles.push(handle),
            // The built-ins' name has the minor version, and NVRTC looks for them itself.
            None if library.file.starts_with("libnvrtc-builtins") => {}
            None => {
                return Err(Error::Library {
                    file: library.file,
                    what: library.what,
                    searched: folders,
                });
            }
        }
    }
    #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
    super::forwarders::resolve(|name| {
        // SAFETY: the handles are of loaded libraries, and the name is a C string.
        let mut found = handles
            .iter()
            .map(|&it| unsafe { libc::dlsym(it, name.as_ptr()) });
        found.find(|address| !address.is_null())
    });
    Ok(())
}

/// Loads a library; it stays so.
fn open(path: &Path) -> Option<*mut c_void> {
    use std::os::unix::ffi::OsStrExt;
    let name = std::ffi::CString::new(path.as_os_str().as_bytes()).ok()?;
    // SAFETY: the name is a C string; these libraries' initialisers need nothing of this process.
    let handle = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW | libc::RTLD_GLOBAL) };
    (!handle.is_null()).then_some(handle)
}

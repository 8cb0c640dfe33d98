//! The kernels, compiled by NVRTC for the GPU at hand and kept in the user's cache folder.

use std::ffi::{CString, c_char};
use std::path::{Path, PathBuf};

use cudarc::nvrtc::{result, sys};
use sha2::{Digest, Sha256};

use super::Error;
use crate::cuda::kernels;

/// The machine code (cubin) of all kernels for a compute capability, for tensors in fp32 or bfloat16, from the cache or
/// compiled.
///
/// # Errors
/// [`Error::Compiler`] if NVRTC refuses the source. A cache that cannot be read or written is no error.
pub fn cubin([major, minor]: [i32; 2], bf16: bool) -> Result<Vec<u8>, Error> {
    let source = kernels::source(bf16);
    let options = [
        format!("--gpu-architecture=sm_{major}{minor}"),
        "--std=c++17".to_owned(),
    ];
    let name = name(&source, &options, version()?);
    let file = folder().map(|folder| folder.join(name));
    if let Some(kept) = file.as_ref().and_then(|file| std::fs::read(file).ok()) {
        return Ok(kept);
    }
    let compiled = compile(&source, &options)?;
    if let Some(file) = &file {
        keep(file, &compiled);
    }
    Ok(compiled)
}

fn wrong(what: &str, detail: impl std::fmt::Debug) -> Error {
    Error::Compiler(format!("{what}: {detail:?}"))
}

/// NVRTC's version.
fn version() -> Result<[i32; 2], Error> {
    let (mut major, mut minor) = (0, 0);
    // SAFETY: both numbers may be written.
    let status = unsafe { sys::nvrtcVersion(&mut major, &mut minor) };
    status.result().map_err(|error| wrong("version", error))?;
    Ok([major, minor])
}

/// A file name that another source, GPU or compiler does not have.
fn name(source: &str, options: &[String], version: [i32; 2]) -> String {
    let mut hash = Sha256::new();
    hash.update(source);
    options.iter().for_each(|option| hash.update(option));
    hash.update(format!("{version:?}"));
    let digest = hash.finalize();
    let digits: String = digest
        .iter()
        .take(16)
        .map(|it| format!("{it:02x}"))
        .collect();
    format!("kernels-{digits}.cubin")
}

/// The cache: `$XDG_CACHE_HOME/cellwright`, or `~/.cache/cellwright`.
fn folder() -> Option<PathBuf> {
    let home = || Some(Path::new(&std::env::var_os("HOME")?).join(".cache"));
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.filter(|path| path.is_absolute()).or_else(home)?;
    Some(cache.join("cellwright"))
}

/// Writes a file under a temporary name first, so that nobody reads half of it.
fn keep(file: &Path, bytes: &[u8]) {
    let part = file.with_extension(format!("{}.part", std::process::id()));
    let folder = file.parent().unwrap_or(Path::new("."));
    let written = std::fs::create_dir_all(folder)
        .and_then(|()| std::fs::write(&part, bytes))
        .and_then(|()| std::fs::rename(&part, file));
    if written.is_err() {
        // The next start compiles again.
        let _ = std::fs::remove_file(&part);
    }
}

fn compile(source: &str, options: &[String]) -> Result<Vec<u8>, Error> {
    let source = CString::new(source).map_err(|error| wrong("source", error))?;
    let program = result::create_program(&source, Some(c"cellwright.cu"))
        .map_err(|error| wrong("program", error))?;
    // SAFETY: the program was just made, and is destroyed once, at the end.
    unsafe {
        let compiled = match result::compile_program(program, options) {
            Ok(()) => code(program),
            Err(error) => Err(wrong(&log(program), error)),
        };
        // Nothing is lost if it cannot be destroyed.
        let _ = result::destroy_program(program);
        compiled
    }
}

/// # Safety
/// The program is one of NVRTC's, compiled.
unsafe fn code(program: sys::nvrtcProgram) -> Result<Vec<u8>, Error> {
    let mut size = 0;
    // SAFETY: the buffer has the size that NVRTC asks for.
    unsafe {
        let status = sys::nvrtcGetCUBINSize(program, &mut size);
        status.result().map_err(|error| wrong("size", error))?;
        let mut code = vec![0u8; size];
        let status = sys::nvrtcGetCUBIN(program, code.as_mut_ptr().cast::<c_char>());
        status.result().map_err(|error| wrong("code", error))?;
        Ok(code)
    }
}

/// The compiler's messages.
///
/// # Safety
/// The program is one of NVRTC's.
unsafe fn log(program: sys::nvrtcProgram) -> String {
    // SAFETY: as the caller promises.
    let log = unsafe { result::get_program_log(program) }.unwrap_or_default();
    let bytes: Vec<u8> = log
        .iter()
        .map(|&it| it as u8)
        .filter(|&it| it != 0)
        .collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

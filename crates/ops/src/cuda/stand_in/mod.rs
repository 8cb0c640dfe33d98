//! CUDA on the host, for machines without a GPU: the kernels' source compiled as C++ with a header that stands for CUDA,
//! and around it the driver's, NVRTC's, cuBLAS's and cuDNN's functions that a step calls.
//!
//! [`libraries`] writes them as the shared libraries that a program looks for, so that a build with the features `cuda`
//! and `ci-check` runs as a whole without CUDA. What it finds are wrong indices, arguments, grids, orders and missing
//! barriers; what it cannot find is what depends on the GPU's memory model or its speed. It is thousands of times slower
//! than a GPU. Read from the environment of the program that is run: CELLWRIGHT_STAND_IN_DEVICES, how many GPUs there
//! are (1), CELLWRIGHT_STAND_IN_MEMORY, the bytes of their memory (8 GiB), CELLWRIGHT_STAND_IN_CAPABILITY, ten times
//! their compute capability (90), and CELLWRIGHT_STAND_IN_DRIVER, the driver's version as CUDA writes it (13000).

use std::io;
use std::path::Path;
use std::process::Command;

use super::kernels;

/// The kernels' source as C++.
pub(crate) struct Source {
    text: String,
    /// The kernels' names.
    #[cfg(test)]
    pub(crate) kernels: Vec<String>,
}

/// What the names of the kernels for bfloat16 begin with.
pub(crate) const BF16: &str = "bf16 ";

/// The C++ compiler: `$CXX` or `c++`.
fn compiler() -> String {
    std::env::var("CXX").unwrap_or_else(|_| "c++".to_owned())
}

/// Whether there is a C++ compiler.
#[must_use]
pub fn is_possible() -> bool {
    let asked = Command::new(compiler()).arg("--version").output();
    asked.is_ok_and(|output| output.status.success())
}

/// Runs the compiler in a folder, and gives what it prints.
pub(crate) fn compile(folder: &Path, arguments: &[&str]) -> io::Result<String> {
    let mut command = Command::new(compiler());
    let output = command
        .current_dir(folder)
        .arg("-w")
        .args(arguments)
        .output()?;
    if !output.status.success() {
        let messages = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(io::Error::other(messages));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The names that follow `extern "C" __global__ void` and perhaps launch bounds, in the preprocessed source.
fn names(source: &str) -> Vec<String> {
    let heads = source.split("extern \"C\" __global__ void").skip(1);
    heads
        .filter_map(|text| {
            let text = text.trim_start();
            let text = match text.strip_prefix("__launch_bounds__(") {
                Some(rest) => rest.split_once(')')?.1,
                None => text,
            };
            Some(text.split_once('(')?.0.trim().to_owned())
        })
        .collect()
}

impl Source {
    /// The source, prepared in a folder.
    pub(crate) fn new(folder: &Path) -> io::Result<Self> {
        let sources = [false, true].map(kernels::source);
        std::fs::write(folder.join("kernels.cpp"), &sources[0])?;
        let kernels = names(&compile(folder, &["-E", "-P", "kernels.cpp"])?);
        let entry = |prefix: &str, scope: &str, name: &String| {
            let kernel = format!("{scope}::{name}");
            format!(
                "{{\"{prefix}{name}\", [](void** at) {{ emulation::call({kernel}, at); }}, \
                 [](char* to, int* size) {{ emulation::kinds({kernel}, to, size); }}, \
                 [] {{ return emulation::sizes({kernel}); }}}},\n"
            )
        };
        let wide = kernels.iter().map(|it| entry("", "fp32", it));
        let narrow = kernels.iter().map(|it| entry(BF16, "bf16", it));
        let entries: String = wide.chain(narrow).collect();
        // Both in one library, so in scopes of their own, which C's names have none of.
        let [fp32, bf16] = sources.map(|it| it.replace("extern \"C\" ", ""));
        let text = format!(
            "{}\nnamespace fp32 {{\n{fp32}\n}}\nnamespace bf16 {{\n{bf16}\n}}\n\
             static const emulation::Entry ENTRIES[] = {{\n{entries}}};\n{}",
            include_str!("emulation.hpp"),
            include_str!("scheduler.hpp")
        );
        Ok(Self {
            text,
            #[cfg(test)]
            kernels,
        })
    }

    /// Compiles it, with `more` after it, as a shared library of the folder.
    pub(crate) fn compile(&self, folder: &Path, more: &str, library: &str) -> io::Result<()> {
        std::fs::write(folder.join("kernels.cpp"), format!("{}\n{more}", self.text))?;
        let name = format!("-Wl,-soname,{library}");
        let flags = ["-std=c++17", "-O2", "-U_FORTIFY_SOURCE", "-shared", "-fPIC"];
        let files = [&*name, "-o", library, "kernels.cpp"];
        compile(folder, &[&flags[..], &files].concat()).map(drop)
    }
}

/// Writes the libraries into `folder/lib64`, where a program finds them with CUDA_PATH set to `folder`.
///
/// # Errors
/// If the folder cannot be written, or what the compiler says.
pub fn libraries(folder: &Path) -> io::Result<()> {
    const DRIVER: &str = "libcuda.so.1";
    let to = folder.join("lib64");
    std::fs::create_dir_all(&to)?;
    let more = [
        include_str!("driver.hpp"),
        include_str!("libraries.hpp"),
        include_str!("cudnn.hpp"),
    ];
    let more = more.join("\n");
    Source::new(&to)?.compile(&to, &more, DRIVER)?;
    std::fs::write(to.join("empty.cpp"), "")?;
    for library in [
        "libnvrtc.so.13",
        "libcublasLt.so.13",
        "libcublas.so.13",
        "libcudnn.so.9",
    ] {
        // All functions are in one library, which the others need.
        let name = format!("-Wl,-soname,{library}");
        let flags = ["-shared", "-fPIC", &name, "-Wl,--no-as-needed"];
        let files = ["-o", library, "empty.cpp", DRIVER];
        compile(&to, &[&flags[..], &files].concat())?;
    }
    Ok(())
}

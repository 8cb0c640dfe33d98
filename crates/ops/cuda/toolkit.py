#!/usr/bin/env python3
"""Assemble what a build with `--features cuda` needs on a machine without CUDA: CUDA 13.0's compiler and headers from
NVIDIA's wheels on PyPI, and stand-ins to link against for the libraries that only a GPU machine has.

    toolkit.py [--nvrtc] [FOLDER]        (default folder: target/cuda)

Afterwards `source FOLDER/env.sh` points a build at it. `--nvrtc` also brings the real NVRTC, with which the kernels of
this crate are compiled and reported on (report.py). Linux on x86-64 or aarch64; needs pip, a C compiler and cargo.
CUDA 13.0 is pinned: a driver of the 580 series may refuse the PTX of a later compiler.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

WHEELS = {
    "nvidia-cuda-nvcc": "13.0.88",
    "nvidia-cuda-crt": "13.0.88",
    "nvidia-nvvm": "13.0.88",
    "nvidia-cuda-runtime": "13.0.96",
    "nvidia-cuda-cccl": "13.0.85",
}
NVRTC = {"nvidia-cuda-nvrtc": "13.0.88"}
# Libraries that cudarc, through dfdx, links: its module, the library's file name, the symbols' version.
LIBRARIES = [
    ("driver", "libcuda.so.1", None),
    ("nvrtc", "libnvrtc.so.13", "libnvrtc.so.13"),
    ("cublas", "libcublas.so.13", "libcublas.so.13"),
    ("cublaslt", "libcublasLt.so.13", "libcublasLt.so.13"),
]


def run(*command, **options):
    """Runs a command; its failure ends the script with the command's own message."""
    try:
        return subprocess.run(command, check=True, text=True, **options)
    except FileNotFoundError:
        sys.exit(f"toolkit: {command[0]} is needed and not installed")
    except subprocess.CalledProcessError as error:
        sys.exit(f"toolkit: {' '.join(map(str, command))} ended with status {error.returncode}")


def unpack(wheels, folder):
    """Downloads the wheels into a temporary folder and unpacks their `nvidia` trees into `folder`."""
    with tempfile.TemporaryDirectory() as downloads:
        pins = [f"{name}=={version}" for name, version in wheels.items()]
        run(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:",
            "--disable-pip-version-check", "--dest", downloads, *pins)
        for wheel in sorted(Path(downloads).glob("*.whl")):
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(folder)


def cudarc_sources():
    """The folder of the cudarc that dfdx uses, whose declarations say what there is to link."""
    answer = run("cargo", "metadata", "--format-version", "1", "--locked", "--features", "cuda",
                 cwd=Path(__file__).parent.parent, stdout=subprocess.PIPE)
    for package in json.loads(answer.stdout)["packages"]:
        if package["name"] == "cudarc" and package["version"].startswith("0.9."):
            return Path(package["manifest_path"]).parent / "src"
    sys.exit("toolkit: dfdx's cudarc is not among the dependencies")


def stand_in(module, library, version, sources, folder):
    """A library with every function that cudarc declares; calling one ends the process."""
    declared = (sources / module / "sys.rs").read_text()
    names = sorted(set(re.findall(r"pub fn (\w+)", declared)))
    with tempfile.TemporaryDirectory() as work:
        source = Path(work) / "stand_in.c"
        body = "".join(f"int {name}(void) {{ abort(); }}\n" for name in names)
        source.write_text("void abort(void);\n" + body)
        flags = [f"-Wl,-soname,{library}"]
        if version:
            script = Path(work) / "version"
            script.write_text(f"{version} {{ global: *; }};\n")
            flags.append(f"-Wl,--version-script={script}")
        run(os.environ.get("CC", "cc"), "-shared", "-fPIC", "-w", "-fno-builtin", *flags,
            "-o", str(folder / library), str(source))
    link(folder, library)


def link(folder, library):
    """The name without a version, which the linker looks for."""
    plain = folder / (library.split(".so")[0] + ".so")
    plain.unlink(missing_ok=True)
    plain.symlink_to(library)


def main():
    parser = argparse.ArgumentParser(description="Assemble a CUDA 13.0 toolkit from PyPI.")
    parser.add_argument("folder", nargs="?", default="target/cuda", type=Path)
    parser.add_argument("--nvrtc", action="store_true", help="the real NVRTC too, for report.py")
    options = parser.parse_args()
    toolkit = options.folder.absolute()
    sources = cudarc_sources()

    toolkit.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=toolkit.parent) as unpacked:
        unpack(WHEELS | (NVRTC if options.nvrtc else {}), unpacked)
        shutil.rmtree(toolkit, ignore_errors=True)
        shutil.move(Path(unpacked) / "nvidia" / "cu13", toolkit)
    for program in [*toolkit.glob("bin/*"), *toolkit.glob("nvvm/bin/*")]:
        program.chmod(0o755)

    libraries = toolkit / "lib64"
    (toolkit / "lib").rename(libraries)
    (toolkit / "lib").symlink_to("lib64")
    stubs = libraries / "stubs"
    stubs.mkdir(exist_ok=True)
    for spare in libraries.glob("*.alt.*"):
        spare.unlink()
    for module, library, version in LIBRARIES:
        if (libraries / library).exists():
            link(libraries, library)
        else:
            stand_in(module, library, version, sources, stubs)

    # dfdx's build script asks nvidia-smi for the GPU's generation even where CUDA_COMPUTE_CAP names one.
    answer = toolkit / "bin" / "nvidia-smi"
    answer.write_text("#!/bin/sh\necho compute_cap\necho 9.0\n")
    answer.chmod(0o755)
    (toolkit / "env.sh").write_text(
        f"export CUDA_PATH='{toolkit}' CUDA_COMPUTE_CAP=90 PATH='{toolkit}/bin':\"$PATH\"\n")
    print(f"CUDA 13.0 is in {toolkit}; build with:\n"
          f"  source '{toolkit}/env.sh' && cargo build --release --locked --package cellwright-cli --features cuda")


main()

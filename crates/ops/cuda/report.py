#!/usr/bin/env python3
"""Compile the CUDA kernels of this crate with NVRTC 13.0, as a GPU machine does, for tensors in fp32 and in bfloat16, and
write down what ptxas makes of each: registers, shared memory, spills. Needs no GPU, only the toolkit of
`toolkit.py --nvrtc`.

    report.py [--toolkit FOLDER] [OUTPUT]    (default: the table goes to the terminal)

Ends with status 1 if a kernel spills registers to memory.
"""

import argparse
import ctypes
import platform
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SOURCES = Path(__file__).parent.parent / "src" / "cuda"
# The table is for the first; the others must compile without spills too.
ARCHITECTURES = [90, 75, 80, 86, 89, 100, 103, 110, 120]


def source(bf16=False):
    """The kernels' sources in the order of kernels.rs, as one translation unit."""
    names = re.findall(r'include_str!\("kernels/([\w.]+)"\)', (SOURCES / "kernels.rs").read_text())
    text = "".join(f'#line 1 "{name}"\n' + (SOURCES / "kernels" / name).read_text() for name in names)
    return ("#define BF16\n" if bf16 else "") + text


class Nvrtc:
    """The few functions of NVRTC that are needed."""

    def __init__(self, toolkit):
        folder = toolkit / "lib64"
        ctypes.CDLL(str(next(folder.glob("libnvrtc-builtins.so.*"))), mode=ctypes.RTLD_GLOBAL)
        self.library = ctypes.CDLL(str(folder / "libnvrtc.so.13"))

    def call(self, name, *arguments):
        status = getattr(self.library, name)(*arguments)
        if status != 0:
            raise RuntimeError(f"{name} gives status {status}")

    def version(self):
        major, minor = ctypes.c_int(), ctypes.c_int()
        self.call("nvrtcVersion", ctypes.byref(major), ctypes.byref(minor))
        return f"{major.value}.{minor.value}"

    def text(self, program, what):
        size = ctypes.c_size_t()
        self.call(f"nvrtcGet{what}Size", program, ctypes.byref(size))
        room = ctypes.create_string_buffer(size.value)
        self.call(f"nvrtcGet{what}", program, room)
        return room.value.decode()

    def compile(self, text, architecture):
        """The PTX for an architecture; messages of a source that does not compile end the script."""
        program = ctypes.c_void_p()
        self.call("nvrtcCreateProgram", ctypes.byref(program), text.encode(), b"kernels.cu", 0, None, None)
        options = [f"--gpu-architecture=compute_{architecture}".encode(), b"--std=c++17"]
        array = (ctypes.c_char_p * len(options))(*options)
        if self.library.nvrtcCompileProgram(program, len(options), array) != 0:
            sys.exit(self.text(program, "ProgramLog"))
        ptx = self.text(program, "PTX")
        self.call("nvrtcDestroyProgram", ctypes.byref(program))
        return ptx


def assemble(toolkit, ptx, architecture):
    """What ptxas says of each kernel: name, registers, shared memory, stack, bytes spilled (stores, loads)."""
    with tempfile.TemporaryDirectory() as work:
        (Path(work) / "kernels.ptx").write_text(ptx)
        command = [toolkit / "bin" / "ptxas", "-v", f"-arch=sm_{architecture}", "-o", f"{work}/out", f"{work}/kernels.ptx"]
        answer = subprocess.run(command, capture_output=True, text=True, check=False)
    if answer.returncode != 0:
        sys.exit(answer.stderr)
    number = lambda pattern, text: int((re.search(pattern, text) or [0, 0])[1])
    rows = []
    for part in answer.stderr.split("Compiling entry function '")[1:]:
        rows.append((part.split("'")[0], number(r"Used (\d+) registers", part), number(r"(\d+) bytes smem", part),
                     number(r"(\d+) bytes stack frame", part), number(r"(\d+) bytes spill stores", part),
                     number(r"(\d+) bytes spill loads", part)))
    return sorted(rows)


def main():
    parser = argparse.ArgumentParser(description="Report on the CUDA kernels.")
    parser.add_argument("output", nargs="?", type=Path)
    parser.add_argument("--toolkit", default="target/cuda", type=Path)
    options = parser.parse_args()
    if not (options.toolkit / "lib64" / "libnvrtc.so.13").exists():
        sys.exit(f"report: there is no NVRTC in {options.toolkit}; `just cuda-toolkit --nvrtc` brings it")
    nvrtc = Nvrtc(options.toolkit)
    tables, seconds = {}, {}
    for architecture in ARCHITECTURES:
        # bfloat16 needs compute capability 8.0.
        for bf16 in [False, True] if architecture >= 80 else [False]:
            start = time.process_time()
            ptx = nvrtc.compile(source(bf16), architecture)
            seconds[architecture, bf16] = time.process_time() - start
            tables[architecture, bf16] = assemble(options.toolkit, ptx, architecture)
    version = subprocess.run([options.toolkit / "bin" / "ptxas", "--version"], capture_output=True, text=True, check=True)
    release = re.search(r"V([\d.]+)", version.stdout)[1]

    rows = list(zip(tables[90, False], tables[90, True], strict=True))
    spilling = {of: [row[0] for row in rows if row[3] + row[4] + row[5] > 0] for of, rows in tables.items()}
    lines = [
        "# The CUDA kernels, as compiled",
        "",
        f"{len(rows)} kernels, compiled by NVRTC {nvrtc.version()} to PTX in {seconds[90, False]:.1f} s of a processor's "
        f"time for tensors in fp32, in {seconds[90, True]:.1f} s for bfloat16 (n = 1, {platform.machine()}), and assembled by "
        f"ptxas {release} for sm_90. No GPU was there: this says what the compiler makes of them, not how fast they run.",
        "",
        "Written by `just cuda-report`.",
        "",
        "| kernel | registers | registers, bfloat16 | shared memory, bytes | stack, bytes | spilled, bytes (stores, loads) |",
        "|:--|--:|--:|--:|--:|--:|",
        *(f"| {n} | {r} | {narrow[1]} | {sm} | {st} | {s}, {l} |" for (n, r, sm, st, s, l), narrow in rows),
        "",
        "Kernels that use the stack or spill registers, by architecture:",
        "",
        *(f"- sm_{a}{', bfloat16' if bf16 else ''}: {', '.join(names) or 'none'}" for (a, bf16), names in spilling.items()),
    ]
    report = "\n".join(lines) + "\n"
    if options.output:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text(report)
    else:
        print(report, end="")
    if any(spilling.values()):
        sys.exit("report: a kernel spills")


main()

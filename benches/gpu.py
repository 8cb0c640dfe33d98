#!/usr/bin/env python3
"""Measures a GPU in one call and writes the record results/records/DATE-gpu-DEVICE/.

In this order: the kernels against their CPU twins; training steps of the networks of `peer.py`, in
turn with this program (launch by launch, and captured as one CUDA graph, without cuDNN too) and with
PyTorch (channels-last; both in --precision); candidates an hour of the default search by workers and batch; and,
since it takes longest, the networks in PyTorch with torch.compile (max-autotune). What fails or does
not fit in --limit is recorded with its reason. The record is written anew after every measurement:
what was measured is kept.

`just gpu-report` builds what is needed and starts this. Where there is no Rust, carry the program
and the checks (the test binary of crate `ops`, built with the feature `cuda`) there:

    benches/gpu.py --program cellwright --checks cellwright_ops-0123456789abcdef --libraries FOLDER
"""

import argparse
import datetime
import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import gpu_table
import peer

STEPS = ["eager", "captured", "own", "torch", "compile"]
PARTS = ["checks", *STEPS, "search"]
EAGER, NO_CUDNN = "CELLWRIGHT_EAGER", "CELLWRIGHT_NO_CUDNN"
NOT_REACHED = {"missing": "not reached"}


class Missing(Exception):
    """Why there is no measurement."""


def run(call, seconds, variables):
    """What a command prints on both outputs; `Missing` where it fails or takes longer."""
    try:
        done = subprocess.run(call, env=variables, timeout=seconds, text=True, capture_output=True)
    except subprocess.TimeoutExpired:
        raise Missing(f"not done after {seconds:.0f} s") from None
    except OSError as error:
        raise Missing(f"{call[0]}: {error.strerror}") from None
    if done.returncode != 0:
        lines = (done.stderr.strip() or done.stdout.strip()).splitlines()
        raise Missing(f"status {done.returncode}: {lines[-1] if lines else 'no message'}")
    return done.stdout, done.stderr


def precision(args):
    """The flag of all that is measured; none for the default of each."""
    return ["--precision", args.precision] if args.precision else []


def stopped_after(program, seconds):
    """What a program prints that is asked to stop after some seconds, and killed 30 later."""
    for most, stop in ((seconds, program.terminate), (30, program.kill)):
        try:
            return program.communicate(timeout=most)
        except subprocess.TimeoutExpired:
            stop()
    return program.communicate()


class Report:
    """What has been measured, and where it is written."""

    def __init__(self, args, machine, folder):
        self.args, self.folder = args, folder
        self.end = time.monotonic() + args.limit
        self.variables = dict(os.environ)
        if args.libraries:
            self.variables["LD_LIBRARY_PATH"] = args.libraries
        self.record = {"schema_version": 1, "machine": machine, "command": sys.argv[1:],
                       "checks": NOT_REACHED, "steps": [], "searches": []}

    def seconds(self, most):
        """Seconds that a measurement may take."""
        left = self.end - time.monotonic()
        if left < 1:
            raise Missing("no time left")
        return min(most, left)

    def write(self):
        self.folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps(self.record, indent=1) + "\n"
        (self.folder / "record.json").write_text(text)
        (self.folder / "README.md").write_text(gpu_table.readme(self.record))

    def measure(self, row, part, work):
        """Puts `work()`, or the reason why not, into a row, and writes the record."""
        try:
            found = work() if part in self.args.parts else {"missing": "not asked for"}
        except Missing as reason:
            found = {"missing": str(reason)}
        except (ValueError, KeyError, IndexError) as error:
            found = {"missing": f"the output is not understood: {error!r}"}
        row[part] = found
        case = f"{row['network']}, batch {row['batch']}, " if "network" in row else ""
        shown = {key: value for key, value in found.items() if key != "ms"}
        print(f"{case}{part}: {json.dumps(shown)}", flush=True)
        self.write()

    def checks(self):
        """The kernels on the GPU against their CPU twins."""
        call = ["cargo", "test", "--release", "--locked", "--package", "cellwright-ops", "--features",
                "cuda", "--lib", "--"]
        if self.args.checks:
            call = [self.args.checks]
        elif not shutil.which("cargo"):
            raise Missing("no cargo, and no --checks")
        output, messages = run(call + ["cuda::", "--nocapture"], self.seconds(900), self.variables)
        text = output + messages
        for sign in ("the kernels are checked on the host alone", "skipped: no C++ compiler"):
            if sign in text:
                raise Missing(text[text.index(sign):].splitlines()[0])
        result = re.search(r"test result: ok\. (\d+) passed", text)
        if not result or result[1] == "0":
            raise Missing("no check was found")
        return {"passed": int(result[1])}

    def ours(self, network, batch, *switches):
        """Training steps of this program, with some of the switches on."""
        variables = {k: v for k, v in self.variables.items() if k not in (EAGER, NO_CUDNN)}
        variables.update({switch: "1" for switch in switches})
        call = peer.call(self.args.program, "profile", network) + [
            "--batch", str(batch), "--steps", str(self.args.steps), "--device", self.args.device, "--json"]
        call += precision(self.args)
        found = json.loads(run(call, self.seconds(300), variables)[0])
        return {"n": len(found["step_ms_all"]), "median_ms": found["step_ms"], "ms": found["step_ms_all"],
                "evaluate_ms": found["evaluate_ms"], "peak_bytes": found["peak_bytes"]}

    def theirs(self, rows, part):
        """Training steps of PyTorch, in a process of its own for the rows of a network."""
        batches = [str(row["batch"]) for row in rows]
        found = [None] * len(rows)
        try:
            if part in self.args.parts:
                found = self.peer(rows[0]["network"], batches, part == "compile")
        except Missing as reason:
            found = [{"missing": str(reason)}] * len(rows)
        for row, it in zip(rows, found):
            self.measure(row, part, lambda: it)

    def peer(self, network, batches, compiled):
        """What `gpu_peer.py` prints for each of the batches."""
        graph = run(peer.call(self.args.program, "inspect", network) + ["--graph"], self.seconds(60),
                    self.variables)[0]
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            file.write(graph)
            file.flush()
            call = [sys.executable, str(Path(__file__).with_name("gpu_peer.py")), file.name, "--batches",
                    *batches, "--steps", str(self.args.steps), "--device", self.args.device]
            call += precision(self.args) + (["--compiled"] if compiled else [])
            output = run(call, self.seconds(900), None)[0]
        return [json.loads(line) for line in output.splitlines()[-len(batches):]]

    def search(self, workers, batch):
        """Candidates an hour, from the start to the last that was done."""
        args = self.args
        seconds = self.seconds(args.search_seconds)
        with tempfile.TemporaryDirectory() as folder:
            call = [args.program, "search", "--space", "search-spaces/nasnet.toml", "--set", "filters=16",
                    "--set", "repeats=1", "--dataset", args.dataset, "--data", args.data, "--epochs", "5",
                    "--trials", str(max(12, 3 * workers)), "--rerank", "0", "--device", args.device,
                    "--workers", str(workers), "--batch", str(batch), "--json", "--out", os.path.join(folder, "run")]
            call += precision(args)
            begin = time.time()
            try:
                program = subprocess.Popen(call, env=self.variables, text=True, stdout=subprocess.PIPE,
                                           stderr=subprocess.PIPE)
            except OSError as error:
                raise Missing(f"{args.program}: {error.strerror}") from None
            output, messages = stopped_after(program, seconds)
            rows = [json.loads(line) for line in output.splitlines()]
            done = [row for row in rows if row["status"] == "done"]
            if not done:
                lines = messages.strip().splitlines() or ["no message"]
                raise Missing(f"no candidate done in {time.time() - begin:.0f} s: {' '.join(lines[-2:])}")
            # A row is a file of its own, written when its training is done.
            last = max(os.path.getmtime(os.path.join(folder, "run/trials", f"{row['id']:05}.parquet"))
                       for row in done) - begin
        row, failed = done[-1], len(rows) - len(done)
        return {"n": len(done), "failed": failed, "seconds": last, "an_hour": 3600 * len(done) / last,
                "train_images": row["train_images"], "epochs": row["epochs"],
                "median_candidate_seconds": statistics.median(row["total_seconds"] for row in done)}


def machine(args):
    """What is measured on, and with what. A version that cannot be found is null."""
    def ask(*call):
        try:
            return run(list(call), 60, None)[0].strip()
        except Missing:
            return None

    smi = ask("nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader")
    devices = smi.splitlines() if smi else []
    name, driver, memory = (devices[0].split(", ") + [None, None])[:3] if devices else (None, None, None)
    return {"device": name, "devices": len(devices), "memory": memory, "driver": driver,
            "processor": platform.processor() or platform.machine(), "cores": os.cpu_count(),
            "system": platform.platform(), "program": ask(args.program, "--version"),
            "commit": ask("git", "describe", "--always", "--dirty"),
            "precision": args.precision or "tf32",
            "torch": ask(sys.executable, "-c", "import torch; print(torch.__version__)"),
            "date": datetime.date.today().isoformat()}


def record_folder(machine):
    """results/records/DATE-gpu-DEVICE, with a number if it is there."""
    device = re.sub(r"[^a-z0-9]+", "-", (machine["device"] or "none").lower().replace("nvidia ", ""))
    path = Path("results/records") / f"{machine['date']}-gpu-{device.strip('-')}"
    number, folder = 2, path
    while folder.exists():
        folder, number = path.with_name(f"{path.name}-{number}"), number + 1
    return folder


def positive(text):
    value = int(text)
    if value < 1:
        raise ValueError
    return value


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--program", default="target/release/cellwright", help="built with the feature cuda")
    parser.add_argument("--checks", help="test binary of crate ops (default: cargo builds it)")
    parser.add_argument("--libraries", help="LD_LIBRARY_PATH of the program and the checks, not of PyTorch")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="only these")
    parser.add_argument("--only", help="networks whose name has this in it")
    parser.add_argument("--compile", nargs="+", default=[""], metavar="NAME",
                        help="torch.compile for networks whose names have one of these in them, in this order")
    parser.add_argument("--batches", nargs="+", type=positive, default=[64, 128, 512])
    parser.add_argument("--steps", type=positive, default=50, help="steps that are timed")
    parser.add_argument("--workers", nargs="+", type=positive, default=[1, 4, 8])
    parser.add_argument("--search-batches", nargs="+", type=positive, default=[64, 512])
    parser.add_argument("--dataset", default="cifar10", help="of the searches")
    parser.add_argument("--data", default="data", help="where data sets are kept")
    parser.add_argument("--search-seconds", type=positive, default=240, help="of each search at most")
    parser.add_argument("--limit", type=positive, default=4 * 3600, help="seconds in all")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--precision", choices=["fp32", "tf32", "bf16"],
                        help="of this program and of PyTorch (default: tf32)")
    parser.add_argument("--out", type=Path, help="the record's folder (default: see above)")
    args = parser.parse_args()
    if not Path("search-spaces").is_dir():
        parser.error("start it in the folder of the project")
    networks = [name for name in peer.NETWORKS if not args.only or args.only in name]
    if not networks:
        parser.error(f"--only {args.only}: no such network among {', '.join(peer.NETWORKS)}")
    if not shutil.which(args.program):
        parser.error(f"--program {args.program}: not there, or not executable")
    found = machine(args)
    if args.device != "cpu" and not found["device"]:
        parser.error("no GPU: nvidia-smi names none")
    report = Report(args, found, args.out or record_folder(found))
    record = report.record
    cases = [(name, batch) for name in networks for batch in args.batches]
    record["steps"] = [{"network": name, "batch": batch, **{part: NOT_REACHED for part in STEPS}}
                       for name, batch in cases]
    searches = [(batch, workers) for batch in args.search_batches for workers in args.workers]
    record["searches"] = [{"workers": workers, "batch": batch, **NOT_REACHED} for batch, workers in searches]
    report.measure(record, "checks", report.checks)
    for name in networks:
        rows = [row for row in record["steps"] if row["network"] == name]
        for row in rows:
            case = row["network"], row["batch"]
            report.measure(row, "eager", lambda: report.ours(*case, EAGER))
            report.measure(row, "captured", lambda: report.ours(*case))
        # Once is enough to see what cuDNN is worth.
        report.measure(rows[0], "own", lambda: report.ours(name, rows[0]["batch"], NO_CUDNN))
        report.theirs(rows, "torch")
    for index, (batch, workers) in enumerate(searches):
        found = {}
        report.measure(found, "search", lambda: report.search(workers, batch))
        record["searches"][index] = {"workers": workers, "batch": batch, **found["search"]}
        report.write()
    # Each compiles anew, for minutes: the smallest batches first.
    for batch in args.batches:
        for part_of_name in args.compile:
            for row in record["steps"]:
                if row["batch"] == batch and part_of_name in row["network"] and row["compile"] is NOT_REACHED:
                    report.theirs([row], "compile")
    print(report.folder)


if __name__ == "__main__":
    main()

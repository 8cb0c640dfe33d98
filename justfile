# `just` alone lists the recipes.

export CARGO_TERM_COLOR := env("CARGO_TERM_COLOR", "auto")
cellwright := "cargo run --release --quiet --package cellwright-cli --bin cellwright --"

# List the recipes
default:
    @just --list --unsorted

# Search for architectures; with no flags: NASNet cells on the images at hand, in minutes
search *flags:
    @. crates/ops/cuda/environment.sh && cargo build --release --locked --package cellwright-cli $CUDA_FEATURES \
        && cargo run --release --quiet --package cellwright-cli --bin cellwright $CUDA_FEATURES -- search {{ flags }}

# Draw the charts and the report of runs again, from their tables alone (default: the newest run)
plots *runs: build
    @{{ cellwright }} plots {{ runs }}

# List the data sets, or fetch one: `just data fetch cifar10`
data *args="list": build
    @{{ cellwright }} data {{ args }}

# Build the command
build:
    cargo build --release --locked --package cellwright-cli

# Run all tests (no network needed once built)
test *args:
    cargo test --release --locked --workspace {{ args }}

# Run the criterion benches
bench *args:
    cargo bench --locked --workspace {{ args }}

# Formatting, lints and docs, warnings denied
lint:
    cargo fmt --all --check
    cargo clippy --release --locked --workspace --all-targets -- -D warnings
    RUSTDOCFLAGS="-D warnings" cargo doc --release --locked --workspace --no-deps

# Check the CUDA code, and run it on the host with libraries that stand for CUDA's; needs neither CUDA nor a GPU
check-cuda:
    cargo clippy --release --locked --workspace --all-targets --features cuda,ci-check -- -D warnings
    cargo test --release --locked --workspace --features cuda,ci-check --lib cuda::
    cargo test --release --locked --workspace --features cuda,ci-check --test cuda

# Assemble CUDA 13.0 in target/cuda, to build with `--features cuda` where there is none
cuda-toolkit *args:
    crates/ops/cuda/toolkit.py {{ args }}

# Compile the CUDA kernels with NVRTC and write down their registers and spills; needs no GPU
cuda-report:
    test -e target/cuda/lib64/libnvrtc.so.13 || crates/ops/cuda/toolkit.py --nvrtc
    crates/ops/cuda/report.py results/records/{{ datetime("%Y-%m-%d") }}-cuda-kernels/README.md

# Time a training step against PyTorch, in one run (makes its own virtual environment)
bench-peer *args: build torch
    .venv/bin/python benches/peer.py {{ args }}

# Measure a GPU in one call, PyTorch beside it, and write its record (makes its own virtual environment)
gpu-report *args:
    @before="${LD_LIBRARY_PATH:-}" && . crates/ops/cuda/environment.sh && if [ -z "$CUDA_FEATURES" ]; then \
            echo "no GPU that can be used here" >&2; exit 1; \
        fi \
        && cargo build --release --locked --package cellwright-cli $CUDA_FEATURES && just torch \
        && libraries="$LD_LIBRARY_PATH" && export LD_LIBRARY_PATH="$before" \
        && .venv/bin/python benches/gpu.py --libraries "$libraries" {{ args }}

[private]
torch:
    test -x .venv/bin/python || python3 -m venv .venv
    .venv/bin/python -c "import torch" 2>/dev/null || .venv/bin/pip install --quiet torch==2.9.1 numpy setuptools

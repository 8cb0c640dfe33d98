# Sourced by `just search`: decides between the CUDA build and the CPU build, and says in one line what is missing.
#
# Sets CUDA_FEATURES to the cargo flags of the CUDA build, or to nothing; for the CUDA build also CUDA_PATH, where the
# compiler is, and LD_LIBRARY_PATH, where the libraries are: in CUDA's folders or in Python's nvidia packages.

CUDA_FEATURES=""

cuda_decide() {
    nvidia-smi -L >/dev/null 2>&1 || return 0
    for root in "$CUDA_PATH" "$CUDA_HOME" "$PWD/target/cuda" /usr/local/cuda; do
        if [ -n "$root" ] && [ -x "$root/bin/nvcc" ]; then
            compiler=$root
            break
        fi
    done
    if [ -z "${compiler:-}" ]; then
        echo "a GPU is here, but no nvcc in CUDA_PATH, target/cuda or /usr/local/cuda: using the CPU" \
            "(\`just cuda-toolkit\` fetches it)" >&2
        return 0
    fi
    folders="$compiler/lib64:/usr/local/cuda/lib64:/usr/lib/x86_64-linux-gnu:$(python3 -c '
import os, site
roots = [*site.getsitepackages(), site.getusersitepackages()]
folders = [os.path.join(root, "nvidia", *part) for root in roots for part in (("cu13", "lib"), ("cudnn", "lib"))]
print(":".join(folders))' 2>/dev/null)"
    folders="${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}$folders"
    for library in libnvrtc.so.13 libcublas.so.13 libcublasLt.so.13; do
        found=""
        rest="$folders:"
        while [ -n "$rest" ]; do
            [ -e "${rest%%:*}/$library" ] && found=yes && break
            rest="${rest#*:}"
        done
        if [ -z "$found" ]; then
            echo "a GPU is here, but not $library, looked for in $folders: using the CPU" >&2
            return 0
        fi
    done
    export CUDA_PATH="$compiler" LD_LIBRARY_PATH="$folders"
    CUDA_FEATURES="--features cuda"
}

cuda_decide

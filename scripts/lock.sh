#!/usr/bin/env bash
# Writes requirements/*.txt from the extras in pyproject.toml. Needs the package index, and nothing else of ours does.
#
#   scripts/lock.sh              resolve, keeping the versions already locked
#   scripts/lock.sh --upgrade    take the newest versions that pyproject.toml allows
set -euo pipefail
cd "$(dirname "$0")/.."

# The resolver lives in a throw-away environment: locking is rare, and the product does not depend on it.
UV_VERSION=0.13.9
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
python3 -m venv "$scratch/venv"
"$scratch/venv/bin/pip" install --quiet "uv==$UV_VERSION"

compile() { # compile OUTPUT ARGUMENT...
    local output="$1"
    shift
    "$scratch/venv/bin/uv" pip compile --quiet --universal --python-version 3.11 --generate-hashes \
        --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" --output-file "$output" "$@"
}

upgrade=()
[ "${1:-}" = --upgrade ] && upgrade=(--upgrade)

# dev is the widest set that is installed together with the product, so it is resolved first and the others follow it:
# one version of one package in all profiles.
compile requirements/dev.txt "${upgrade[@]}" --extra cpu --extra openvino --extra triton --extra dev pyproject.toml
compile requirements/cpu.txt --constraint requirements/dev.txt --extra cpu --extra openvino --extra triton pyproject.toml
compile requirements/gpu.txt --constraint requirements/dev.txt --extra gpu --extra triton pyproject.toml
echo "hatchling" > "$scratch/build.in"
compile requirements/build.txt --constraint requirements/dev.txt "$scratch/build.in"
echo "cyclonedx-bom" > "$scratch/sbom.in"
compile requirements/sbom.txt --constraint requirements/dev.txt "$scratch/sbom.in"
compile requirements/train-cuda.txt --constraint requirements/dev.txt --extra train pyproject.toml
# Triton's own environment is installed on top of nothing: its packages differ, the runtimes are the same.
grep -hE '^(onnxruntime|openvino|tritonclient)==' requirements/dev.txt | sed 's/ \\$//' > "$scratch/runtimes.txt"
printf '%s\n' "numpy<2" onnxruntime openvino "nvidia-pytriton==0.7.0" > "$scratch/triton-server.in"
compile requirements/triton-server.txt --constraint "$scratch/runtimes.txt" "$scratch/triton-server.in"
sed -i "s#$scratch/##g; s#--constraint requirements/#-c #g" requirements/*.txt
python3 scripts/split_train_lock.py requirements/train-cuda.txt requirements/train.txt
echo "locked: $(ls requirements/*.txt | xargs)"

"""Splits the lock of the extra `train` in two, so that plain pip can install it with or without CUDA.

PyTorch's wheel on the public index asks for gigabytes of CUDA packages; its CPU build (version `2.13.0+cpu`, from
wherever pip is told to look) asks for none. Both satisfy `torch==2.13.0`. With hashes required, pip wants every
package it meets to be listed and installs everything that is listed, so the CUDA chain has a file of its own.
"""

import sys
from pathlib import Path

CUDA_CHAIN = ("nvidia-", "cuda-", "triton==")

# torch-2.13.0+cpu, CPython 3.11, manylinux_2_28 x86_64: PyTorch's own CPU build, which the public index lacks.
TORCH_CPU_BUILDS = ("sha256:6746dbcbeb526eb61330b76b41ff1b4eb848951103a892eeb080dfa2b264667b",)


def split_blocks(lock: str) -> tuple[str, list[str]]:
    """The header and one block of lines for each package (its pin, its hashes, its `# via`)."""
    blocks: list[list[str]] = [[]]
    for line in lock.splitlines(keepends=True):
        if line[0].isalnum():
            blocks.append([])
        blocks[-1].append(line)
    header, *packages = ("".join(block) for block in blocks)
    return header, packages


def with_cpu_builds(block: str) -> str:
    """torch's block with the hashes of its CPU builds put first."""
    pin, rest = block.split("\n", 1)
    ours = "".join(f"    --hash={digest} \\\n" for digest in TORCH_CPU_BUILDS)
    return f"{pin}\n{ours}{rest}"


def main(source: str, train: str, train_cuda: str) -> None:
    header, packages = split_blocks(Path(source).read_text())
    cuda = [block for block in packages if block.startswith(CUDA_CHAIN)]
    plain = [with_cpu_builds(b) if b.startswith("torch==") else b for b in packages if b not in cuda]
    assert cuda, "the CUDA chain of torch has other names now"
    assert sum(b.startswith("torch==") for b in plain) == 1, "torch is not locked"
    Path(train).write_text(header + "".join(plain))
    Path(train_cuda).write_text(header + "".join(cuda))


if __name__ == "__main__":
    main(*sys.argv[1:4])

"""Makes `train.txt` out of `train-cuda.txt`: the same lock for PyTorch's CPU build.

PyTorch's wheel on the public index asks for gigabytes of CUDA packages; its CPU build (version `2.13.0+cpu`,
from wherever pip is told to look) asks for none. Both satisfy `torch==2.13.0`. With hashes required, pip
installs all that is listed and prefers a file whose hash the index already told, so the CPU build needs a
lock in which neither the CUDA chain nor the public wheels' hashes appear.
"""

import sys
from pathlib import Path

CUDA_CHAIN = ("nvidia-", "cuda-", "triton==")

# torch-2.13.0+cpu, CPython 3.11, manylinux_2_28 x86_64: PyTorch's own CPU build, not on the public index.
TORCH_CPU_BUILDS = ("sha256:6746dbcbeb526eb61330b76b41ff1b4eb848951103a892eeb080dfa2b264667b",)


def split_blocks(lock: str) -> list[str]:
    """The header, then one block of lines for each package: its pin, its hashes, its `# via`."""
    blocks: list[list[str]] = [[]]
    for line in lock.splitlines(keepends=True):
        if line[0].isalnum():
            blocks.append([])
        blocks[-1].append(line)
    return ["".join(block) for block in blocks]


def for_cpu(block: str) -> str:
    """The block as the CPU lock has it: nothing for the CUDA chain, the CPU builds' hashes for torch."""
    if block.startswith(CUDA_CHAIN):
        return ""
    if not block.startswith("torch=="):
        return block
    pin = block.split("\n", 1)[0]
    via = block[block.index("    # via") :]
    return pin + "\n" + " \\\n".join(f"    --hash={digest}" for digest in TORCH_CPU_BUILDS) + "\n" + via


def main(train_cuda: str, train: str) -> None:
    blocks = split_blocks(Path(train_cuda).read_text())
    assert any(block.startswith(CUDA_CHAIN) for block in blocks), "the CUDA chain has other names now"
    assert sum(block.startswith("torch==") for block in blocks) == 1, "torch is not locked"
    Path(train).write_text("".join(for_cpu(block) for block in blocks))


if __name__ == "__main__":
    main(*sys.argv[1:3])

"""What computes an answer: the engine, where it runs, and in which precision."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Engine:
    """name: onnxruntime, openvino or triton. provider: what computes, cpu say. precision: fp32, bf16, fp16 or int8."""

    name: str
    provider: str
    precision: str

    def __str__(self) -> str:
        return f"{self.name} {self.provider} {self.precision}"

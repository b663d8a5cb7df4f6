"""The Dockerfile read as data, for the tests of its rules and of its steps."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

Instruction = tuple[str, str]
"""(INSTRUCTION, argument), continuation lines joined, comments dropped."""


@dataclass(frozen=True)
class Dockerfile:
    """before: what stands before the first FROM. stages: each begins with its FROM."""

    before: list[Instruction]
    stages: list[list[Instruction]]

    @staticmethod
    def parse(text: str) -> Dockerfile:
        text = re.sub(r"(?m)^\s*#.*\n", "", text).replace("\\\n", " ")
        lines = [re.sub(r"\s+", " ", line).strip() for line in text.splitlines()]
        before: list[Instruction] = []
        stages: list[list[Instruction]] = []
        for name, _, argument in (line.partition(" ") for line in lines if line):
            if name == "FROM":
                stages.append([])
            (stages[-1] if stages else before).append((name, argument))
        return Dockerfile(before, stages)

    @staticmethod
    def of_the_project() -> Dockerfile:
        return Dockerfile.parse((ROOT / "Dockerfile").read_text(encoding="utf-8"))

    @property
    def instructions(self) -> list[Instruction]:
        return [*self.before, *(instruction for stage in self.stages for instruction in stage)]

    def stage(self, name: str) -> list[Instruction]:
        return next(stage for stage in self.stages if stage[0][1].endswith(f" AS {name}"))

    @property
    def final(self) -> list[Instruction]:
        """What the final image is made of: the last stage after those it stands on."""
        stage = self.stages[-1]
        names = {other[0][1].split(" AS ")[-1]: other for other in self.stages if " AS " in other[0][1]}
        whole = list(stage)
        while (parent := whole[0][1].split(" ")[0]) in names:
            whole = [*names[parent], *whole]
        return whole

    def argument_defaults(self) -> dict[str, str]:
        return dict(argument.split("=", 1) for name, argument in self.before if name == "ARG")


def arguments(stage: list[Instruction], name: str) -> list[str]:
    return [argument for instruction, argument in stage if instruction == name]


def commands(stage: list[Instruction]) -> list[str]:
    """The commands of its RUN lines, one by one."""
    return [command.strip() for run in arguments(stage, "RUN") for command in run.split("&&")]

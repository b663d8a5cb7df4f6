"""Writes what the chart says of values and settings: the table in its README.md, the names in its values.schema.json.

Run it after a change of `helm/radmeter/values.yaml` or of a setting: `python scripts/chart_tables.py`. A test compares.
"""

from __future__ import annotations

import json
import re
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # a script's own folder is all that Python adds

from server.settings import Settings  # noqa: E402 - the line above finds it

CHART = ROOT / "helm" / "radmeter"
BEGIN, END = "<!-- values: begin -->", "<!-- values: end -->"
# Of one machine without an orchestrator, or of a command.
_NOT_HERE = frozenset({"RADMETER_TRITON_SERVER"})
# What the migration hook reads of `settings` is still the user's.
_ONLY_READ = frozenset({"RADMETER_AE_TITLE"})


def set_by_templates() -> set[str]:
    """Settings that the chart derives from its values; to give them twice would be a contradiction."""
    text = "".join(path.read_text(encoding="utf-8") for path in (CHART / "templates").glob("*"))
    return set(re.findall(r"\bRADMETER_[A-Z_]+[A-Z]\b", text)) - _ONLY_READ


def free_settings() -> tuple[list[str], list[str]]:
    """Names that `settings` takes, and names that `secretSettings` takes."""
    free = [
        (setting.metadata["variable"], not setting.repr)
        for setting in fields(Settings)
        if setting.metadata["variable"] not in set_by_templates() | _NOT_HERE
    ]
    return sorted(name for name, is_secret in free if not is_secret), sorted(
        name for name, is_secret in free if is_secret
    )


def schema() -> str:
    known = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
    plain, secret = free_settings()
    value = {"type": ["string", "number", "boolean"]}
    known["properties"]["settings"]["properties"] = dict.fromkeys(plain, value)
    where = {
        "type": "object",
        "additionalProperties": False,
        "properties": {"secret": {"$ref": "#/$defs/name"}, "key": {"$ref": "#/$defs/key"}},
        "required": ["secret", "key"],
    }
    known["properties"]["secretSettings"]["properties"] = dict.fromkeys(secret, where)
    return json.dumps(known, indent=2, ensure_ascii=False) + "\n"


def described_values() -> list[tuple[str, str, str]]:
    """(path, default, sentence) of each value, in the order of values.yaml, from the `# -- ` line above it."""
    text = (CHART / "values.yaml").read_text(encoding="utf-8")
    values = yaml.safe_load(text)
    found, path, sentence = [], [], ""
    for line in text.splitlines():
        if match := re.match(r"\s*# -- (.*)", line):
            sentence = match[1]
        elif match := re.match(r"( *)([\w-]+):", line):
            path = [*path[: len(match[1]) // 2], match[2]]
            if sentence:
                found.append((".".join(path), default_of(values, path), sentence))
            sentence = ""
    return found


def default_of(values: Any, path: list[str]) -> str:
    for name in path:
        values = values[name]
    if isinstance(values, dict) and values:
        return "see values.yaml"
    return f"`{json.dumps(values)}`" if values not in ("", None) else "empty"


def readme() -> str:
    text = (CHART / "README.md").read_text(encoding="utf-8")
    rows = "".join(
        f"| `{path}` | {default} | {sentence.replace('|', chr(92) + '|')} |\n"
        for path, default, sentence in described_values()
    )
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    return f"{before}{BEGIN}\n| value | default | meaning |\n|---|---|---|\n{rows}{END}{after}"


def main() -> None:
    for name, text in {"values.schema.json": schema(), "README.md": readme()}.items():
        (CHART / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()

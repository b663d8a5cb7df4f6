"""What became of each rule, in words: for the command line and the portal's tester."""

from __future__ import annotations

from pipeline.route import Route
from pipeline.route_rules import Obstacle, RuleTrace, series_name
from pipeline.rule_keywords import Value


def obstacle_text(obstacle: Obstacle) -> str:
    """`series: SliceThickness <= 2 (SliceThickness is 5) in 3 Thorax`."""
    values = ", ".join(f"{name} is {value_text(value)}" for name, value in obstacle.values.items())
    text = obstacle.what + (f": {obstacle.expression}" if obstacle.expression else "")
    text += f" ({values})" if values else ""
    return text + (f" in {obstacle.series}" if obstacle.series else "")


def value_text(value: Value) -> str:
    if value is None:
        return "missing"
    if isinstance(value, float):
        return f"{value:g}"
    return f'"{value}"' if isinstance(value, str) else "[" + ", ".join(value) + "]"


def outcome_lines(trace: RuleTrace) -> list[str]:
    """One line for each model that a matching rule names."""
    lines = []
    for model, outcome in trace.outcomes:
        if outcome is None:
            lines.append(f"{model}: taken by an earlier rule")
        elif isinstance(outcome, Route):
            series = next(
                one for one in trace.series if one.series_instance_uid == outcome.series_instance_uid
            )
            where = ", ".join(trace.rule.destinations) or "the peer's own destination"
            how = "kept in shadow" if trace.rule.shadow else f"to {where}"
            lines.append(f"{model}: reads {series_name(series)}, {outcome.explanation} {how}")
        else:
            lines.append(f"{model}: {outcome.text} ({outcome.code})")
    return lines

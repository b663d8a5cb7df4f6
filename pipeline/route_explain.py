"""What became of each rule, in words: for the command line and, in the languages of the portal, for its tester."""

from __future__ import annotations

from pipeline.reason_text import reason_text
from pipeline.route import Route
from pipeline.route_rules import Obstacle, RuleTrace, series_name
from pipeline.rule_keywords import Value
from study.sentences import translated

# key of a rule → why it is an obstacle where no expression says so; English, Chinese.
_WHY = {
    "enabled": ("it is switched off", "该规则已停用"),
    "stop": ("an earlier rule that matched is the last one", "此前匹配的规则已终止后续规则"),
    "series": ("the study has no series", "该检查没有序列"),
    "calling_ae_titles": ("somebody else sent it", "发送方不在其列"),
    "called_ae_titles": ("somebody else was called", "被叫方不在其列"),
    "time_window": ("it is not the time", "不在时间窗内"),
}
_IS, _IN, _MISSING = (" is ", " 为 "), (" in {}", "（序列 {}）"), ("missing", "缺失")
_TAKEN = ("{}: taken by an earlier rule", "{}：已由此前的规则选用")
_WAITS = ("waits first for a series with {}", "先等待满足 {} 的序列")
_READS = ("{}: reads {}, {} {}", "{}：读取{}，{}，{}")
_OWN = ("the peer's own destination", "该节点自己的目的地")
_HOW = {"shadow": ("kept in shadow", "仅影子运行"), "sent": ("to {}", "发往 {}")}


def obstacle_text(obstacle: Obstacle, language: str = "en") -> str:
    """`series: SliceThickness <= 2 (SliceThickness is 5) in 3 Thorax`. Keys and keywords stay as rules write them."""
    column = _column(language)
    values = ", ".join(
        f"{name}{_IS[column]}{value_text(value, language)}" for name, value in obstacle.values.items()
    )
    why = obstacle.expression or _WHY.get(obstacle.what, ("", ""))[column]
    text = f"{obstacle.what}: {why}" if why else obstacle.what
    text += f" ({values})" if values else ""
    return text + (_IN[column].format(obstacle.series) if obstacle.series else "")


def value_text(value: Value, language: str = "en") -> str:
    if value is None:
        return _MISSING[_column(language)]
    if isinstance(value, float):
        return f"{value:g}"
    return f'"{value}"' if isinstance(value, str) else "[" + ", ".join(value) + "]"


def outcome_lines(trace: RuleTrace, language: str = "en") -> list[str]:
    """One line for each model that a matching rule names, after those for the series that it waits for first."""
    column = _column(language)
    lines = [_WAITS[column].format(expression) for expression in trace.missing]
    for model, outcome in trace.outcomes:
        if outcome is None:
            lines.append(_TAKEN[column].format(model))
        elif isinstance(outcome, Route):
            series = next(
                one for one in trace.series if one.series_instance_uid == outcome.series_instance_uid
            )
            where = ", ".join(trace.rule.destinations) or _OWN[column]
            how = _HOW["shadow" if trace.rule.shadow else "sent"][column].format(where)
            why = translated(outcome.explanation, language)
            lines.append(_READS[column].format(model, series_name(series), why, how))
        else:
            lines.append(f"{model}: {reason_text(outcome.code, outcome.text, language)} ({outcome.code})")
    return lines


def _column(language: str) -> int:
    return 1 if language == "zh" else 0

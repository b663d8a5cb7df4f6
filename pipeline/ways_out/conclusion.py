"""The conclusion of a report as plain sentences, in the words of the report page."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline import report_format
from pipeline.reason_text import reason_text
from pipeline.report_text import Words, words
from pipeline.report_view import ReportState, ReportView
from pipeline.ways_out.told import Told


def conclusion(told: Told) -> str:
    """What the result says and that nobody has reviewed it yet, or who has; of a study without one, why."""
    w = words(told.language)
    return " ".join(_sentences(told, w))


def _sentences(told: Told, w: Words) -> Iterator[str]:
    view = told.report
    if view is None:
        title = "Analysis failed" if told.event == "failed" else "Not analysed"
        yield f"{w(title)}: {reason_text(told.reason_code, told.reason_text, told.language) or told.reason_code}"
        yield w("This is not a negative result: there is no result for this study.")
        return
    yield (
        f"{w('AI result, reviewed')}: {told.reviewer}."
        if told.reviewer
        else f"{w('AI result, not reviewed')}."
    )
    yield from _result(view, w)
    for count, key in (
        (len(told.rejected), "{n} of them rejected on review."),
        (len(told.edits), "{n} changed on review."),
        (len(told.missed), "{n} added on review."),
    ):
        if count:
            yield w(key).format(n=count)
    if view.guideline is not None and view.guideline.worst:
        yield f"{w('Guideline category')}: {view.guideline.title} {view.guideline.worst}."
    if view.model is not None:
        yield f"{view.model.title} {view.model.version}. {w(view.model.clearance_status)}"


def _result(view: ReportView, w: Words) -> Iterator[str]:
    slices = view.series.slice_count if view.series else report_format.ABSENT
    positive = [row for row in view.statements if row.is_positive]
    if view.state is ReportState.MEASURED:
        volume = report_format.whole(sum(row.volume_ml for row in view.structures))
        key = "{n} structures were outlined, {ml} ml together."
        yield w(key).format(n=len(view.structures), ml=volume)
        yield w("Outlined and measured on {n} axial slices. Disease of any kind was not assessed.").format(
            n=slices
        )
    elif view.statements:
        if positive:
            labels = w(", ").join(w(row.label.replace("_", " ")) for row in positive)
            yield f"{w('Signs of:')} {labels}."
        else:
            yield w("The model analysed this radiograph and called nothing positive.")
        key = "One frontal chest radiograph was assessed for {n} findings. Everything else was not assessed."
        yield w(key).format(n=len(view.statements))
    elif view.findings:
        sentence, largest_mm = view.marked()
        yield w(sentence).format(n=len(view.findings), mm=report_format.millimetres(largest_mm))
    else:
        yield w("The model analysed this study and marked no finding.")
        key = (
            "Assessed: pulmonary nodules on {n} axial slices. Everything else was not assessed. "
            "This does not exclude disease."
        )
        yield w(key).format(n=slices)

"""What result objects say in sentences, in English; `result_words_zh.py` says the same in Chinese."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from study.codes import Code
from study.nodule import NODULE_UP_TO_MM, Trend

if TYPE_CHECKING:
    from dicom_gateway.result_context import ResultContext


class Words:
    """Sentences about a result. Every one that is negative says what it is negative about."""

    not_reviewed = "AI result, not reviewed"
    no_category = "no category, see the notes"
    trends: Mapping[Trend, str] = MappingProxyType(
        {Trend.GROWN: "grown", Trend.SHRUNK: "shrunk", Trend.UNCHANGED: "unchanged"}
    )
    meanings: Mapping[tuple[str, str], str] = MappingProxyType({})

    def name_of(self, code: Code, english: str) -> str:
        """What a finding or structure is called."""
        return self.meanings.get((code.value, code.scheme), english)

    def notice(self, context: ResultContext) -> str:
        """What every object carries: not reviewed, which clearance, which model and weights."""
        return (
            f"{self.not_reviewed} by a physician. {clearance(context)} "
            f"Model {context.model_name} {context.model_version}, weights SHA-256 {context.weights_sha256}."
        )

    def conclusion(self, context: ResultContext) -> str:
        """The result in one sentence."""
        if context.classifications:
            return self._statements(context)
        if context.structures or context.outlines:
            return self._structures(context)
        at = ""
        if context.operating_threshold is not None:
            at = f" at or above the operating threshold of {context.operating_threshold:g}"
        if not context.findings:
            size = f" of {context.finding_mm[0]:g} mm or more" if context.finding_mm else ""
            return f"No pulmonary nodule{size} was detected by the model{at}. This does not exclude disease."
        count = len(context.findings)
        largest = max(finding.mean_diameter_mm for finding in context.findings)
        what = "nodule" if largest <= NODULE_UP_TO_MM else "mass" if count == 1 else "nodule or mass"
        noun = f"{what} candidate was" if count == 1 else f"{what} candidates were"
        return (
            f"{count} pulmonary {noun} detected by the model{at}; "
            f"the largest has a mean diameter of {largest:.1f} mm."
        )

    def _statements(self, context: ResultContext) -> str:
        positive = [one.title for one in context.classifications if one.is_positive]
        if positive:
            head = f"The model found signs of: {', '.join(positive)}."
        else:
            head = "The model found none of the findings it looks for. This does not exclude disease."
        numbers = "; ".join(
            f"{one.title} {one.probability:.3f} (threshold {one.threshold:.3f},"
            f" {'positive' if one.is_positive else 'negative'})"
            for one in context.classifications
        )
        return f"{head} Calibrated probabilities: {numbers}."

    def _structures(self, context: ResultContext) -> str:
        parts = []
        for one in context.structures:
            words = f"{one.label} {one.volume_ml:.0f} ml, mean {one.mean_hu:.0f} HU"
            share = one.low_attenuation_share
            parts.append(words if share is None else f"{words}, {100 * share:.1f} % below -950 HU")
        if not parts:
            return "None of the structures that the model outlines was found. This says nothing of disease."
        total = sum(one.volume_ml for one in context.structures)
        return f"{len(parts)} structures were outlined, {total:.0f} ml together: {'; '.join(parts)}."

    def comparison(self, context: ResultContext) -> str | None:
        """What became of the findings since the prior study; None where there was none."""
        if context.prior is None:
            return None
        counts = trends_since(context)
        told = [f"{counts[None]} new"] if counts[None] else []
        told += [f"{counts[trend]} {word}" for trend, word in self.trends.items() if counts[trend]]
        told += [f"{len(context.prior.resolved)} no longer seen"] if context.prior.resolved else []
        return (
            f"Compared with the prior study of {context.prior.study_date or 'unknown date'}: "
            f"{', '.join(told) or 'no finding then or now'}. Changes are of the volume, with 95 % intervals."
        )

    def what_was_assessed(self, context: ResultContext) -> str:
        """What the model looked at and for, and what it did not."""
        if context.classifications:
            names = ", ".join(one.title for one in context.classifications)
            done = f"{names}, on one frontal chest radiograph"
            rest = (
                "all other findings, other images, and change since prior studies. "
                "The rectangle of a finding is where the model's map is greatest, no outline"
            )
        elif context.structures or context.outlines:
            done = f"outlines and volumes of the structures that the model knows, on {slices_of(context)}"
            rest = "disease of any kind, and everything else"
        else:
            done = f"pulmonary nodules in the lungs, on {slices_of(context)}"
            small = f"nodules below {context.finding_mm[0]:g} mm, " if context.finding_mm else ""
            change = "" if context.prior is not None else ", and change since prior studies"
            rest = f"{small}all other findings, other organs, other series{change}"
        use = context.intended_use.strip() or "not stated"
        return f"Assessed: {done}. Not assessed: {rest}. Intended use of the model: {use}"

    def guideline_note(self, finding: int, sentence: str) -> str:
        """What a guideline says of one finding, by which rule."""
        return f"Finding {finding}: {sentence}"

    def key_images(self, count: int) -> str:
        """Of a key object selection."""
        noun = "key image" if count == 1 else "key images"
        return f"{self.not_reviewed}. {count} {noun} and the result objects about them."

    def picture_of(self, number: int, shown: int, count: int) -> str:
        """Of one of `shown` pictures, where there are `count` images with findings."""
        rest = "" if shown == count else f"; {count} images have findings, the others are in the report"
        return f"Picture {number} of {shown}{rest}"

    def window(self, width: float, level: float, unit: str) -> str:
        """How the grey values of a picture were chosen."""
        return f"Window W {width:.0f} L {level:.0f}{unit}"


def clearance(context: ResultContext) -> str:
    """The manifest's sentence, with its full stop."""
    text = context.clearance_status.strip() or "Clearance for clinical use: not stated."
    return text if text.endswith((".", "!", "?", "。")) else text + "."


def slices_of(context: ResultContext) -> str:
    return f"{len(context.volume.slice_sop_instance_uids)} axial slices of one CT series"


def trends_since(context: ResultContext) -> dict[Trend | None, int]:
    """How many findings went which way since the prior; None: new ones."""
    told = [one.comparison for one in context.findings if one.comparison is not None]
    counts: dict[Trend | None, int] = {None: sum(one.state == "new" for one in told)}
    for trend in Trend:
        counts[trend] = sum(one.growth is not None and one.growth.trend is trend for one in told)
    return counts

"""Why a radiograph is not judged. Each is a visible refusal, never “no findings”."""

from __future__ import annotations

from models.errors import UnfitInput
from study.sentences import say


class RadiographTooSmall(UnfitInput):
    """The picture has too few pixels to show what the model looks for."""

    code = "RADIOGRAPH_TOO_SMALL"

    def __init__(self, rows: int, columns: int, needed: int) -> None:
        super().__init__(say("RADIOGRAPH_TOO_SMALL", columns=columns, rows=rows, needed=needed))


class RadiographWithoutContrast(UnfitInput):
    """Nearly all pixels have one value."""

    code = "RADIOGRAPH_WITHOUT_CONTRAST"

    def __init__(self) -> None:
        super().__init__(say("RADIOGRAPH_WITHOUT_CONTRAST"))


class NotAChestRadiograph(UnfitInput):
    """The picture does not look like a frontal chest radiograph of an adult."""

    code = "NOT_A_CHEST_RADIOGRAPH"

    def __init__(self) -> None:
        super().__init__(say("NOT_A_CHEST_RADIOGRAPH"))


class LateralRadiograph(UnfitInput):
    """The picture looks like a lateral view."""

    code = "LATERAL_RADIOGRAPH"

    def __init__(self) -> None:
        super().__init__(say("LATERAL_RADIOGRAPH"))


class InvertedRadiograph(UnfitInput):
    """Black and white are exchanged against what the header says."""

    code = "INVERTED_RADIOGRAPH"

    def __init__(self) -> None:
        super().__init__(say("INVERTED_RADIOGRAPH"))


class TurnedRadiograph(UnfitInput):
    """The picture lies on its side or stands on its head."""

    code = "TURNED_RADIOGRAPH"

    def __init__(self) -> None:
        super().__init__(say("TURNED_RADIOGRAPH"))


class CroppedRadiograph(UnfitInput):
    """Less than a whole chest is shown."""

    code = "CROPPED_RADIOGRAPH"

    def __init__(self) -> None:
        super().__init__(say("CROPPED_RADIOGRAPH"))


REFUSALS: dict[str, type[LateralRadiograph | InvertedRadiograph | TurnedRadiograph | CroppedRadiograph]] = {
    "lateral": LateralRadiograph, "inverted": InvertedRadiograph, "turned": TurnedRadiograph,
    "cropped": CroppedRadiograph,
}  # fmt: skip

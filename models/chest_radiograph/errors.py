"""Why a radiograph is not judged. Each is a visible refusal, never “no findings”."""

from __future__ import annotations

from models.errors import UnfitInput


class RadiographTooSmall(UnfitInput):
    """The picture has too few pixels to show what the model looks for."""

    code = "RADIOGRAPH_TOO_SMALL"

    def __init__(self, rows: int, columns: int, needed: int) -> None:
        super().__init__(
            f"the radiograph has {columns} x {rows} pixels, the model needs {needed} on each side: send the original"
        )


class RadiographWithoutContrast(UnfitInput):
    """Nearly all pixels have one value."""

    code = "RADIOGRAPH_WITHOUT_CONTRAST"

    def __init__(self) -> None:
        super().__init__("the radiograph is blank or nearly so: nothing can be seen on it")


class NotAChestRadiograph(UnfitInput):
    """The picture does not look like a frontal chest radiograph of an adult."""

    code = "NOT_A_CHEST_RADIOGRAPH"

    def __init__(self) -> None:
        super().__init__("the picture does not look like a frontal chest radiograph, so it was not judged")


class LateralRadiograph(UnfitInput):
    """The picture looks like a lateral view."""

    code = "LATERAL_RADIOGRAPH"

    def __init__(self) -> None:
        super().__init__(
            "the picture looks like a lateral view: the model reads frontal (PA or AP) ones only"
        )


class InvertedRadiograph(UnfitInput):
    """Black and white are exchanged against what the header says."""

    code = "INVERTED_RADIOGRAPH"

    def __init__(self) -> None:
        super().__init__(
            "black and white are exchanged: Photometric Interpretation contradicts the pixels; correct it at the source"
        )


class TurnedRadiograph(UnfitInput):
    """The picture lies on its side or stands on its head."""

    code = "TURNED_RADIOGRAPH"

    def __init__(self) -> None:
        super().__init__(
            "the chest lies on its side or upside down: turn the image at the source and send it again"
        )


class CroppedRadiograph(UnfitInput):
    """Less than a whole chest is shown."""

    code = "CROPPED_RADIOGRAPH"

    def __init__(self) -> None:
        super().__init__("only a part of the chest is shown, and findings in the rest would be missed")


REFUSALS: dict[str, type[LateralRadiograph | InvertedRadiograph | TurnedRadiograph | CroppedRadiograph]] = {
    "lateral": LateralRadiograph, "inverted": InvertedRadiograph, "turned": TurnedRadiograph,
    "cropped": CroppedRadiograph,
}  # fmt: skip

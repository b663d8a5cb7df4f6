"""What can be wrong with a noun."""


class StudyError(ValueError):
    """A noun of the imaging domain was given a value it cannot hold."""


class InvalidUID(StudyError):
    """A UID is not 1 to 64 characters of dot-separated digits (DICOM PS3.5 section 9.1)."""

    def __init__(self, value: str) -> None:
        super().__init__(f"not a DICOM UID: {value[:80]!r}")
        self.value = value


class InvalidAETitle(StudyError):
    """An AE title is not 1 to 16 printable characters of the default repertoire (DICOM PS3.5 6.2)."""

    def __init__(self, value: str) -> None:
        super().__init__(f"not an AE title: {value[:80]!r}")
        self.value = value


class InvalidVolume(StudyError):
    """A volume's array, affine and slices do not fit together."""


class InvalidFinding(StudyError):
    """A finding's numbers contradict one another or are not finite."""


class InvalidRadiograph(StudyError):
    """A radiograph's array, depth and spacing do not fit together."""


class InvalidClassification(StudyError):
    """A classification's probability or threshold is outside [0, 1], or its map is not one."""


class InvalidReview(StudyError):
    """A verdict's or a review's parts contradict one another or are out of bounds."""

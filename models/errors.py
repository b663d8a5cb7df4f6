"""What can be wrong with a model or with what it is given."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from study.sentences import say


class ModelError(Exception):
    """A model cannot be found, read or applied. `code` names the fact for programs."""

    code = "MODEL_ERROR"


class ModelNotFound(ModelError):
    """No built-in or installed model has this name."""

    code = "MODEL_NOT_FOUND"

    def __init__(self, name: str) -> None:
        super().__init__(f"no model is called {name[:80]!r}")


class ModelVersionNotFound(ModelNotFound):
    """The model is there, but not in this version."""

    code = "MODEL_VERSION_NOT_FOUND"

    def __init__(self, name: str, version: str, versions: Sequence[str]) -> None:
        there = ", ".join(versions[:20])
        ModelError.__init__(self, f"{name[:80]} has no version {version[:40]!r}; there is {there}")


class InvalidManifest(ModelError):
    """A manifest.toml lacks a key or holds a value of the wrong kind."""

    code = "INVALID_MANIFEST"

    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(f"{path}: {problem}")


class WeightsMissing(ModelError):
    """The file that the manifest names as weights is not there."""

    code = "WEIGHTS_MISSING"

    def __init__(self, path: Path) -> None:
        super().__init__(f"the model's weights are missing: {path}")


class WeightsDigestMismatch(ModelError):
    """The weights are not, byte for byte, those that the manifest names."""

    code = "WEIGHTS_DIGEST_MISMATCH"

    def __init__(self, path: Path, expected: str, actual: str) -> None:
        super().__init__(f"{path} has SHA-256 {actual}, its manifest says {expected}: the model is refused")


class NoQuantisedWeights(ModelError):
    """The model has no file for int8."""

    code = "NO_QUANTISED_WEIGHTS"

    def __init__(self, name: str) -> None:
        super().__init__(
            f"{name} has no quantised weights: set RADMETER_INFERENCE_PRECISION to another than int8"
        )


class UnfitInput(ModelError):
    """The volume is not something this model may judge. It must never end as "no findings"."""

    code = "UNFIT_INPUT"


class WrongKindOfImage(UnfitInput):
    """The model reads volumes and was given a radiograph, or the other way round."""

    code = "WRONG_KIND_OF_IMAGE"

    def __init__(self, wanted: str, given: str) -> None:
        super().__init__(say("WRONG_KIND_OF_IMAGE", wanted=wanted, given=given))


class LungsNotFound(UnfitInput):
    """Nothing in the volume looks like a lung."""

    code = "LUNGS_NOT_FOUND"

    def __init__(self) -> None:
        super().__init__(say("LUNGS_NOT_FOUND"))


class VolumeTooThin(UnfitInput):
    """The volume has too few slices to hold a nodule's shape."""

    code = "VOLUME_TOO_THIN"

    def __init__(self, extent_mm: float, needed_mm: float) -> None:
        super().__init__(say("VOLUME_TOO_THIN", mm=f"{extent_mm:.0f}", needed=f"{needed_mm:.0f}"))


class VolumeTooLarge(UnfitInput):
    """At the model's spacing the volume has more voxels than one run may hold."""

    code = "VOLUME_TOO_LARGE"

    def __init__(self, voxels: int, voxels_max: int) -> None:
        super().__init__(say("VOLUME_TOO_LARGE", n=voxels, most=voxels_max))


class InvalidBundle(ModelError):
    """A bundle is not of a layout that can be read, or breaks a bound."""

    code = "INVALID_BUNDLE"


class InvalidPackage(ModelError):
    """A folder or zip is not a model that may be installed. The sentence says what to change."""

    code = "INVALID_PACKAGE"


class GraphRefused(ModelError):
    """The graph could not be opened, is not what the manifest says, or does not answer."""

    code = "GRAPH_REFUSED"


class ModelExists(ModelError):
    """This version of the model is there already."""

    code = "MODEL_EXISTS"

    def __init__(self, name: str, version: str) -> None:
        super().__init__(
            f"{name} {version} is there already: give the new one another version in its manifest, "
            f"or remove the old one first (radmeter models remove {name} {version})"
        )


class ModelInUse(ModelError):
    """The version is still what a tenant or an unfinished study uses."""

    code = "MODEL_IN_USE"


class TrainExtraMissing(ModelError):
    """The work needs torch, which the extra `train` installs."""

    code = "TRAIN_EXTRA_MISSING"

    def __init__(self, what: str) -> None:
        super().__init__(f"{what} needs the extra `train`: pip install 'radmeter[train]'")


class InvalidAnnotations(ModelError):
    """Annotated data is not of the layout that can be read."""

    code = "INVALID_ANNOTATIONS"

    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(f"{path}: {problem}")

"""Which models there are: those in this package and those a user installed, several versions of each side by side."""

from __future__ import annotations

import dataclasses
import importlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from models.errors import InvalidManifest, ModelNotFound, ModelVersionNotFound
from models.manifest import Manifest, load_manifest
from models.model import Model

Family = Callable[[Manifest], Model]


def _family(folder: str, name: str) -> Family:
    """A class of models, imported when the first is made: who only reads manifests does without scipy."""

    def make(manifest: Manifest) -> Model:
        family: Family = getattr(importlib.import_module(f"models.{folder}.model"), name)
        return family(manifest)

    return make


# The code behind each family. An installed model brings weights and settings, never code.
FAMILIES = {
    "lung_ct_segmentation": _family("lung_ct_segmentation", "LungCTSegmentation"),
    "chest_radiograph": _family("chest_radiograph", "ChestRadiograph"),
    "lung_nodule_ct": _family("lung_nodule_ct", "LungNoduleCT"),
    "monai_classification": _family("monai_classification", "MonaiClassification"),
    "monai_retinanet": _family("monai_retinanet", "MonaiRetinaNet"),
    "monai_segmentation": _family("monai_segmentation", "MonaiSegmentation"),
}
INSTALLATION_FILE = "installed.json"
_BUILT_IN = Path(__file__).parent


@dataclass(frozen=True)
class Catalogue:
    """Every version of every model that can be read, and what is wrong with the others.

    By name; of one name the default version first: what comes with this software, else what was installed first, so
    that adding a version never changes what runs.
    """

    models: tuple[Manifest, ...]
    problems: tuple[InvalidManifest, ...] = ()

    def versions_of(self, name: str) -> tuple[Manifest, ...]:
        """All versions of the model called `name`, else of the first one of that product; the default first."""
        called = tuple(one for one in self.models if one.name == name)
        product = next((one.name for one in self.models if one.product_code == name), None)
        return called or tuple(one for one in self.models if one.name == product)


def installed_models(data_directory: Path) -> Path:
    """The folder of the models that a user added: `<name>/<version>/`."""
    return data_directory / "models"


def is_built_in(manifest: Manifest) -> bool:
    """Whether this version comes with the software."""
    return manifest.folder.parent == _BUILT_IN


def find_models(data_directory: Path | None = None) -> Catalogue:
    """What is there now. One that cannot be read hides no other."""
    paths = sorted(_BUILT_IN.glob("*/manifest.toml"))
    if data_directory is not None:
        folder = installed_models(data_directory)
        # Directly in `<name>/` lie those of releases that knew one version of each.
        added = [*folder.glob("*/manifest.toml"), *folder.glob("*/*/manifest.toml")]
        paths += sorted(added, key=lambda path: (_installed_at(path.parent), path))
    found: dict[tuple[str, str], Manifest] = {}
    problems = []
    for path in paths:
        try:
            manifest = load_manifest(path.parent)
        except InvalidManifest as error:
            problems.append(error)
        else:
            found.setdefault((manifest.name, manifest.version), manifest)
    # The sort is stable: of one name the order of finding stays.
    return Catalogue(tuple(sorted(found.values(), key=lambda one: one.name)), tuple(problems))


def _installed_at(folder: Path) -> str:
    """ISO 8601, or nothing for what older releases installed, which came first."""
    try:
        return str(json.loads((folder / INSTALLATION_FILE).read_text("utf-8"))["at"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def list_models(data_directory: Path | None = None) -> list[Manifest]:
    """The default version of each model, by name. Raises `InvalidManifest` when one cannot be read."""
    catalogue = find_models(data_directory)
    if catalogue.problems:
        raise catalogue.problems[0]
    return list({one.name: one for one in reversed(catalogue.models)}.values())[::-1]


def model_names(data_directory: Path | None = None) -> frozenset[str]:
    """Names and product codes under which `get_model` finds a model."""
    return frozenset(
        name
        for manifest in find_models(data_directory).models
        for name in (manifest.name, manifest.product_code)
    )


def get_model(
    name: str,
    data_directory: Path | None = None,
    *,
    version: str | None = None,
    threshold: float | None = None,
) -> Model:
    """The model called `name`, or the first of that product; an endpoint checks its weights when it opens them.

    name: may end in `@version`. version: this one and no other; None is the default one. threshold: the operating
    threshold to work at instead of the manifest's; the model's manifest then states it.
    Raises `ModelNotFound`, `ModelVersionNotFound` or `InvalidManifest`.
    """
    called, _, named_version = name.partition("@")
    version = version or named_version or None
    catalogue = find_models(data_directory)
    versions = catalogue.versions_of(called)
    if not versions:
        # It may be the one that cannot be read.
        raise catalogue.problems[0] if catalogue.problems else ModelNotFound(called)
    manifest = next((one for one in versions if version in (None, one.version)), None)
    if manifest is None:
        raise ModelVersionNotFound(called, version or "", [one.version for one in versions])
    family = FAMILIES.get(manifest.family)
    if family is None:
        raise InvalidManifest(manifest.folder / "manifest.toml", f"unknown family {manifest.family!r}")
    if threshold is not None:
        manifest = dataclasses.replace(manifest, operating_threshold=threshold)
    return family(manifest)

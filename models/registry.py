"""Which models there are: those in this package and those a user installed."""

from __future__ import annotations

from pathlib import Path

from models.errors import InvalidManifest, ModelNotFound
from models.lung_nodule_ct.model import LungNoduleCT
from models.manifest import Manifest, load_manifest
from models.model import Model
from models.monai_retinanet.model import MonaiRetinaNet

# The code behind each family. An installed model brings weights and settings, never code.
FAMILIES: dict[str, type[LungNoduleCT] | type[MonaiRetinaNet]] = {
    "lung_nodule_ct": LungNoduleCT,
    "monai_retinanet": MonaiRetinaNet,
}
_BUILT_IN = Path(__file__).parent


def installed_models(data_directory: Path) -> Path:
    """The folder of the models that a user added."""
    return data_directory / "models"


def list_models(data_directory: Path | None = None) -> list[Manifest]:
    """Manifests of all models by name; a built-in model wins over an installed one of its name."""
    folders = [_BUILT_IN] + ([installed_models(data_directory)] if data_directory else [])
    found: dict[str, Manifest] = {}
    for folder in folders:
        for path in sorted(folder.glob("*/manifest.toml")):
            manifest = load_manifest(path.parent)
            found.setdefault(manifest.name, manifest)
    return [found[name] for name in sorted(found)]


def model_names(data_directory: Path | None = None) -> frozenset[str]:
    """Names and product codes under which `get_model` finds a model."""
    return frozenset(
        name for manifest in list_models(data_directory) for name in (manifest.name, manifest.product_code)
    )


def get_model(name: str, data_directory: Path | None = None) -> Model:
    """The model called `name`, or the first of that product; an endpoint checks its weights when it opens them."""
    manifests = list_models(data_directory)
    called = [one for one in manifests if one.name == name] or [
        one for one in manifests if one.product_code == name
    ]
    if not called:
        raise ModelNotFound(name)
    manifest = called[0]
    family = FAMILIES.get(manifest.family)
    if family is None:
        raise InvalidManifest(manifest.folder / "manifest.toml", f"unknown family {manifest.family!r}")
    return family(manifest)

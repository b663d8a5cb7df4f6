"""Turns a MONAI bundle of the public model zoo into a model of our form: manifest, ONNX, card, licence.

Detection, segmentation and classification layouts each have a module that reads them and exports their network; what
all have in common is here.
"""

from __future__ import annotations

import hashlib
import json
import pickle
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from models.errors import InvalidBundle, TrainExtraMissing
from models.monai_classification import bundle as classification
from models.monai_config import Bundle, read_bundle
from models.monai_retinanet import bundle as detection
from models.monai_segmentation import bundle as segmentation

CLEARANCE = "Not cleared for clinical use: installed by the user from a MONAI bundle."
Tables = dict[str, dict[str, Any]]


def convert_bundle(
    source: Path, folder: Path, *, name: str | None = None, operating_threshold: float | None = None
) -> None:
    """Write the bundle's model into the empty `folder`. name: of the model, else made of the bundle's task.

    Raises `InvalidBundle` or `TrainExtraMissing`.
    """
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix="bundle-") as scratch:
        checkpoint = Path(scratch) / "model.pt"
        bundle = read_bundle(source, checkpoint)
        usual_name, export = _layout(bundle)
        tables = _exported(export, checkpoint, folder / "model.onnx")
    digest = hashlib.sha256((folder / "model.onnx").read_bytes()).hexdigest()
    head = {
        "name": name or usual_name,
        "version": bundle.text("version", "0"),
        "title": bundle.text("task") or bundle.text("name", usual_name),
        "publisher": bundle.text("authors", "MONAI bundle"),
        "intended_use": bundle.text("intended_use", "Not stated by the bundle."),
        "clearance_status": CLEARANCE,
        # Bundles state no operating point.
        "operating_threshold": 0.5 if operating_threshold is None else operating_threshold,
        "weights_file": "model.onnx",
        "weights_sha256": digest,
        "evaluation_file": "evaluation.json",
        **({"licence_file": "LICENSE"} if bundle.licence.strip() else {}),
    }
    tables[""] = {"product_code": head["name"]} | head | tables[""]
    (folder / "manifest.toml").write_text(manifest_text(tables), "utf-8")
    (folder / "MODEL_CARD.md").write_text(_card(bundle), "utf-8")
    metrics = bundle.metadata.get("eval_metrics")
    stated = {"stated_by_the_bundle": metrics if isinstance(metrics, dict) else {}}
    (folder / "evaluation.json").write_text(json.dumps(stated, indent=2), "utf-8")
    if bundle.licence.strip():
        (folder / "LICENSE").write_text(bundle.licence, "utf-8")


def _layout(bundle: Bundle) -> tuple[str, Callable[[Path, Path], Tables]]:
    """A name for the model, and what exports its network from the checkpoint to a file."""
    if detection.is_detection(bundle):
        places = detection.read_detection(bundle)
        return detection.NAME, lambda checkpoint, out: detection.convert_detection(places, checkpoint, out)
    name = model_name(bundle)
    if segmentation.is_segmentation(bundle):
        maps = segmentation.read_segmentation(bundle)
        return name, lambda checkpoint, out: segmentation.convert_segmentation(maps, checkpoint, out)
    if classification.is_classification(bundle):
        classes = classification.read_classification(bundle)
        return name, lambda checkpoint, out: classification.convert_classification(classes, checkpoint, out)
    raise InvalidBundle(
        "the bundle is of no layout that is known: detection of lung nodules on CT, segmentation of CT, "
        "classification of radiographs"
    )


def _exported(export: Callable[[Path, Path], Tables], checkpoint: Path, out: Path) -> Tables:
    try:
        return export(checkpoint, out)
    except ImportError as error:
        raise TrainExtraMissing("turning a MONAI bundle into a served model") from error
    except InvalidBundle:
        raise
    except (pickle.UnpicklingError, EOFError) as error:  # whose advice is to run the code in it
        raise InvalidBundle(
            "models/model.pt is no checkpoint of tensors alone (torch.save of a state_dict), and nothing else is read"
        ) from error
    except Exception as error:  # torch reports a bad checkpoint by many unrelated classes
        raise InvalidBundle(f"models/model.pt does not fit the configuration: {str(error)[:500]}") from error


def model_name(bundle: Bundle) -> str:
    """A name for our registry from the bundle's own: monai_ and its task in small letters."""
    text = bundle.text("name") or bundle.text("task", "bundle")
    return ("monai_" + re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_"))[:64]


def _card(bundle: Bundle) -> str:
    stated = bundle.card.strip() or "The bundle came without a description."
    return (
        f"# {bundle.text('task', 'A MONAI bundle')}\n\n**{CLEARANCE}** It was exported to ONNX and is served by this "
        "software's own code; what follows is the bundle's own description, and its figures are not checked.\n\n"
        f"{stated}\n"
    )


def manifest_text(tables: Tables) -> str:
    """A manifest.toml; the table "" comes first. JSON strings, numbers and arrays are valid TOML ones."""
    parts = []
    for name in sorted(tables):
        head = f"[{name}]\n" if name else ""
        lines = (f"{key} = {_toml(value)}\n" for key, value in tables[name].items())
        parts.append(head + "".join(lines))
    return "\n".join(parts)


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {_toml(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_toml(one) for one in value) + "]"
    return json.dumps(value, ensure_ascii=False)

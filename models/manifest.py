"""Manifest: all that the server needs to know about a model, from its manifest.toml; `docs/models.md` has every key."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, cast

from models.errors import InvalidManifest
from models.manifest_values import Table, lines_of

InputKind = Literal["volume", "radiograph"]
AgeUnknown = Literal["noted", "refused"]
Precision = Literal["bf16", "fp16", "int8"]
PRECISIONS: tuple[Precision, ...] = ("bf16", "fp16", "int8")
"""Precisions of further weights files; `weights_file` is the fp32 one, which every endpoint can run."""

MANIFEST_BYTES_MAX = 1 << 20
_NAME = r"[a-z][a-z0-9_]{1,63}"
_NAME_WORDS = "2 to 64 lower-case letters, digits and underscores, a letter first"
# Not of five numbers and more: those are a UID by form, which billing refuses.
_VERSION = r"(?!.*\d(\.\d+){4})[0-9A-Za-z][0-9A-Za-z.+-]{0,31}"
_SHA256 = r"[0-9a-f]{64}"
_SHA256_WORDS = "64 lower-case hexadecimal digits, as sha256sum writes them"
_FILE = r"[0-9A-Za-z_][0-9A-Za-z_.-]{0,99}"
_FILE_WORDS = "the name of a file in the model's own folder"
_LANGUAGE = r"[a-z]{2,3}(-[A-Za-z0-9]{2,8})*"
_MODALITY = r"[A-Z][A-Z0-9_]{0,15}"


@dataclass(frozen=True)
class InputRequirements:
    """Which series a model reads.

    modalities: any of these. body_parts: values of Body Part Examined that fit, upper case; an absent value is not a
    misfit. excluded_image_types: a series with one of these values in Image Type is not read.
    kind: whether the model reads a volume of slices or single projection images; of the latter the limits of slices
    say nothing. view_positions: values of View Position that a radiograph may have, upper case; empty = any.
    patient_age_years_min: a patient who is known to be younger is not read; 0 = any age.
    patient_age_unknown: whether one of unknown age is read, and the result says so, or not read where there is a limit.
    """

    modalities: tuple[str, ...]
    body_parts: tuple[str, ...]
    orientation: str
    slice_thickness_mm_max: float
    slice_spacing_mm_min: float
    slice_spacing_mm_max: float
    slice_count_min: int
    slice_count_max: int
    excluded_image_types: tuple[str, ...]
    kind: InputKind = "volume"
    view_positions: tuple[str, ...] = ()
    patient_age_years_min: float = 0.0
    patient_age_unknown: AgeUnknown = "noted"

    @property
    def modality(self) -> str:
        """The modality that the model is made for: the first one."""
        return self.modalities[0]


@dataclass(frozen=True)
class WeightsFile:
    """The graph in a further precision: a file in the model's folder and its SHA-256."""

    file: str
    sha256: str


_OUTLINES = frozenset({"lung_ct_segmentation", "monai_segmentation"})


@dataclass(frozen=True)
class PriceHint:
    """What the publisher would ask for one result; a contract says what is really paid."""

    amount: Decimal
    currency: str
    per: str


@dataclass(frozen=True)
class Manifest:
    """The description of one model in one version.

    family: which code pre- and postprocesses for it. spacing_mm: (slice, row, column) spacing that the graph works at;
        zeros where the family brings a radiograph to a fixed size instead. outputs: shape of each output of the graph,
        -1 where it varies.
    settings: what only the family understands. folder: where the manifest was read.
    inputs: shape of each input of the graph, where the manifest states them. window_hu: the Hounsfield units that the
        graph maps to its range, where it says so. uses: names of models that run first on the same image.
    max_batch: how many inputs may be stacked along axis 0 in one run. run_bytes_per_element: peak memory of a run for
        each element of its inputs, measured; bounds what runs at a time.
    finding_mm: smallest and largest diameter of what it was made to find, for models that find something of a size.
    languages: of what the model's texts are in. precisions: the same graph with other weights.
    licence, licence_file, card_file: SPDX expression or name, and files in the model's folder.
    """

    name: str
    version: str
    title: str
    publisher: str
    family: str
    intended_use: str
    clearance_status: str
    product_code: str
    spacing_mm: tuple[float, float, float]
    operating_threshold: float
    weights_file: str
    weights_sha256: str
    evaluation_file: str
    input: InputRequirements
    outputs: dict[str, tuple[int, ...]]
    settings: dict[str, Any]
    folder: Path
    inputs: dict[str, tuple[int, ...]] = field(default_factory=dict)
    window_hu: tuple[float, float] | None = None
    uses: tuple[str, ...] = ()
    max_batch: int = 1
    run_bytes_per_element: float = 80.0
    languages: tuple[str, ...] = ("en",)
    price_hint: PriceHint | None = None
    precisions: Mapping[Precision, WeightsFile] = field(default_factory=dict)
    licence: str = ""
    licence_file: str = ""
    card_file: str = "MODEL_CARD.md"
    finding_mm: tuple[float, float] | None = None

    @property
    def weights_path(self) -> Path:
        """Where the weights lie; `verified_weights` also checks them."""
        return self.folder / self.weights_file

    @property
    def outlines(self) -> bool:
        """Whether it outlines structures and speaks of no finding, also where it outlines none."""
        return self.family in _OUTLINES

    # Short names for what routing asks most.
    @property
    def modality(self) -> str:
        """DICOM modality that the model is made for."""
        return self.input.modality

    @property
    def body_parts(self) -> tuple[str, ...]:
        """Values of Body Part Examined that fit."""
        return self.input.body_parts


def load_manifest(folder: Path, *, strict: bool = False) -> Manifest:
    """Read `folder`/manifest.toml. Raises `InvalidManifest`.

    strict: keys that nobody knows are refused, for they are mistakes; a server that runs older code than the model
    was made for passes over them.
    """
    path = folder / "manifest.toml"
    try:
        with path.open("rb") as file:
            content = file.read(MANIFEST_BYTES_MAX + 1)
        if len(content) > MANIFEST_BYTES_MAX:
            raise InvalidManifest(path, f"it is larger than {MANIFEST_BYTES_MAX} bytes")
        text = content.decode("utf-8")
        values = tomllib.loads(text)
    except (OSError, ValueError, RecursionError) as error:
        raise InvalidManifest(path, str(error) or type(error).__name__) from error
    top = Table(values, lines_of(text))
    manifest, tables = _parse(top, folder)
    if strict:
        top.problems.extend(sentence for table in tables for sentence in table.unknown())
    if top.problems:
        raise InvalidManifest(path, "\n  ".join(["", *top.problems][len(top.problems) == 1 :]))
    return manifest


def _parse(top: Table, folder: Path) -> tuple[Manifest, list[Table]]:
    """The manifest, to be believed where `top` has no problems, and the tables that were read."""
    needs, needs_table = _input(top)
    precisions, precision_tables = _precisions(top)
    price, price_table = _price_hint(top)
    is_volume = needs.kind == "volume"
    z, y, x = top.numbers(
        "spacing_mm", 3, None if is_volume else (0.0, 0.0, 0.0), low=0.0,
        allowed="three positive numbers: the spacing of (slice, row, column) in mm that the graph works at",
    )  # fmt: skip
    name = top.text("name", pattern=_NAME, allowed=_NAME_WORDS)
    manifest = Manifest(
        name=name,
        version=top.text("version", pattern=_VERSION, allowed="up to 32 letters, digits and . + -, as 1.2.0"),
        title=top.text("title", empty=False),
        publisher=top.text("publisher", empty=False),
        family=top.text("family", empty=False),
        intended_use=top.text("intended_use", empty=False),
        clearance_status=top.text("clearance_status", empty=False),
        product_code=top.text("product_code", pattern=_NAME, allowed=_NAME_WORDS),
        spacing_mm=(z, y, x),
        operating_threshold=top.number("operating_threshold", low=0, high=1),
        weights_file=top.text("weights_file", pattern=_FILE, allowed=_FILE_WORDS),
        weights_sha256=top.text("weights_sha256", pattern=_SHA256, allowed=_SHA256_WORDS),
        evaluation_file=top.text("evaluation_file", "", pattern=_FILE, allowed=_FILE_WORDS),
        input=needs,
        outputs=top.shapes("outputs", example="output of the graph, as scores = [1, 256]"),
        settings=top.free("settings"),
        folder=folder,
        inputs=top.shapes("inputs", {}),
        window_hu=_range(top, "window_hu", "Hounsfield unit"),
        uses=top.texts("uses", (), pattern=_NAME, allowed="names of models"),
        max_batch=top.integer("max_batch", 1, low=1, high=1024),
        run_bytes_per_element=top.number("run_bytes_per_element", 80.0, low=0),
        languages=top.texts("languages", ("en",), pattern=_LANGUAGE, allowed="language codes, as en, zh-Hans"),
        price_hint=price,
        precisions=precisions,
        licence=top.text("licence", ""),
        licence_file=top.text("licence_file", "", pattern=_FILE, allowed=_FILE_WORDS),
        card_file=top.text("card_file", "MODEL_CARD.md", pattern=_FILE, allowed=_FILE_WORDS),
        finding_mm=_range(top, "finding_mm", "diameter in mm"),
    )  # fmt: skip
    if name in manifest.uses:
        top.problems.append(f"uses: {name} cannot use itself")
    return manifest, [one for one in (top, needs_table, price_table, *precision_tables) if one is not None]


def _input(top: Table) -> tuple[InputRequirements, Table | None]:
    found = top.table("input")
    needs = found or Table({}, {})  # whose problems nobody asks for: that it is missing says all
    kind = cast(InputKind, needs.choice("kind", ("volume", "radiograph"), "volume"))
    modalities = needs.texts(
        "modality", pattern=_MODALITY, allowed="DICOM modalities in capitals, as CT or CR", empty=False
    )
    # A radiograph has no slices: what a volume must state is of no matter there.
    one = kind == "radiograph"
    requirements = InputRequirements(
        modalities=modalities,
        body_parts=tuple(part.upper() for part in needs.texts("body_parts")),
        orientation=needs.text("orientation", "" if one else None),
        slice_thickness_mm_max=needs.number("slice_thickness_mm_max", float("inf") if one else None, low=0),
        slice_spacing_mm_min=needs.number("slice_spacing_mm_min", 0.0 if one else None, low=0),
        slice_spacing_mm_max=needs.number("slice_spacing_mm_max", float("inf") if one else None, low=0),
        slice_count_min=needs.integer("slice_count_min", 1 if one else None),
        slice_count_max=needs.integer("slice_count_max", 1 if one else None),
        excluded_image_types=tuple(kind.upper() for kind in needs.texts("excluded_image_types")),
        kind=kind,
        view_positions=tuple(view.upper() for view in needs.texts("view_positions", ())),
        patient_age_years_min=needs.number("patient_age_years_min", 0.0, low=0, high=150),
        patient_age_unknown=cast(
            AgeUnknown, needs.choice("patient_age_unknown", ("noted", "refused"), "noted")
        ),
    )
    return requirements, found


def _precisions(top: Table) -> tuple[dict[Precision, WeightsFile], list[Table]]:
    """`[precisions.int8]` and its like: the graph with other weights, each with its digest."""
    given = top.table("precisions", optional=True)
    found: dict[Precision, WeightsFile] = {}
    tables = [given] if given is not None else []
    for precision in PRECISIONS:
        one = given.table(precision, optional=True) if given is not None else None
        if one is None:
            continue
        tables.append(one)
        found[precision] = WeightsFile(
            one.text("file", pattern=_FILE, allowed=_FILE_WORDS),
            one.text("sha256", pattern=_SHA256, allowed=_SHA256_WORDS),
        )
    return found, tables


def _price_hint(top: Table) -> tuple[PriceHint | None, Table | None]:
    hint = top.table("price_hint", optional=True)
    if hint is None:
        return None, None
    amount = hint.text("amount", pattern=r"\d{1,9}(\.\d{1,4})?", allowed='an amount in quotes, as "5.00"')
    currency = hint.text("currency", pattern="[A-Z]{3}", allowed="a code of ISO 4217, as EUR")
    return PriceHint(
        Decimal(amount or 0), currency, hint.choice("per", ("result", "study", "month"), "result")
    ), hint


def _range(top: Table, key: str, of: str) -> tuple[float, float] | None:
    if key not in top:
        return None
    low, high = top.numbers(key, 2, allowed=f"two numbers: the lowest and the highest {of}")
    if low >= high:
        top.problems.append(str(top.problem(key, [low, high], "must begin with the lower number")))
    return low, high

"""`radmeter models`: which models there are, and how one is added, trained, evaluated, exported."""

from __future__ import annotations

import getpass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from server.cli import explained_errors
from server.settings import load_settings

if TYPE_CHECKING:
    from models.manifest import Manifest

commands = typer.Typer(no_args_is_help=True)
GROUPS = {"models": commands}


@commands.command("list")
def list_models() -> None:
    """Every version of every model, with its status of clearance."""
    from models import registry

    table = Table("name", "version", "from", "publisher", "reads", "clearance")
    for column in table.columns[:2]:  # what other commands want to be told, letter by letter
        column.no_wrap = True
    with explained_errors():
        catalogue = registry.find_models(load_settings().data_directory)
        for one in catalogue.models:
            origin = "built in" if registry.is_built_in(one) else "installed"
            reads = "/".join(one.input.modalities)
            table.add_row(one.name, one.version, origin, one.publisher, reads, one.clearance_status)
        Console().print(table, markup=False)
        if catalogue.problems:
            raise catalogue.problems[0]


@commands.command("show")
def show(name: Annotated[str, typer.Argument(help="a model, or one version of it: NAME@VERSION")]) -> None:
    """A model's manifest in words, and its card."""
    from models import registry

    with explained_errors():
        manifest = registry.get_model(name, load_settings().data_directory).manifest
        typer.echo("\n".join(_in_words(manifest)))
        card = manifest.folder / manifest.card_file
        typer.echo(card.read_text("utf-8") if card.is_file() else "(this model came without a card)")


def _in_words(manifest: Manifest) -> list[str]:
    needs, price = manifest.input, manifest.price_hint
    lines = [
        f"{manifest.name} {manifest.version}: {manifest.title} ({manifest.publisher})",
        manifest.clearance_status,
        manifest.intended_use,
        f"reads        {needs.kind} of {'/'.join(needs.modalities)}, {', '.join(needs.body_parts) or 'any body part'}",
        f"threshold    {manifest.operating_threshold:g}",
        f"weights      {manifest.weights_sha256}",
    ]
    lines += [f"weights {one:5}{file.sha256}" for one, file in manifest.precisions.items()]
    further = {
        "uses": ", ".join(manifest.uses),
        "languages": ", ".join(manifest.languages),
        "price hint": f"{price.amount} {price.currency} per {price.per}" if price else "",
        "licence": manifest.licence or manifest.licence_file,
    }
    return [*lines, *(f"{key:13}{value}" for key, value in further.items() if value), ""]


Source = Annotated[
    Path, typer.Argument(exists=True, help="folder or .zip: a model of ours or a MONAI bundle")
]


@commands.command("add")
def add(
    source: Source,
    name: Annotated[str | None, typer.Option(help="of a MONAI bundle: its name here")] = None,
    threshold: Annotated[
        float | None, typer.Option(help="of a MONAI bundle: the operating threshold, which it does not state")
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="check it and install nothing")] = False,
) -> None:
    """Add a model from a folder or zip after it was checked and tried (a MONAI bundle needs the extra `train`)."""
    from pipeline.install_model import install

    with explained_errors():
        added = install(
            source,
            load_settings().data_directory,
            clock=lambda: datetime.now(UTC),
            by=getpass.getuser(),
            name=name,
            operating_threshold=threshold,
            dry_run=check,
        )
    for sentence in added.checks:
        typer.echo(f"ok  {sentence}")
    if added.left_out:
        typer.echo(f"left out, for a model brings no code: {', '.join(added.left_out)}")
    manifest = added.manifest
    if check:
        typer.echo("it can be added")
    else:
        typer.echo(
            f"added {manifest.name} {manifest.version}; "
            f"`radmeter models enable {manifest.name} --version {manifest.version}` switches it on"
        )


_FORWARD = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}


def _forward(name: str, module: str, context: typer.Context) -> None:
    """Hand all further arguments to the model's own command, which knows them."""
    import runpy
    import sys

    from models.errors import TrainExtraMissing

    with explained_errors():
        folder = Path(__file__).resolve().parent.parent / "models" / name
        if not (folder / f"{module}.py").is_file():
            raise typer.BadParameter(f"{name} has no command {module}")
        sys.argv = [f"radmeter models {module} {name}", *context.args]
        try:
            runpy.run_module(f"models.{name}.{module}", run_name="__main__")
        except ModuleNotFoundError as error:
            if error.name not in ("torch", "monai", "onnx", "onnxscript"):
                raise
            raise TrainExtraMissing(f"`radmeter models {module}`") from None


@commands.command("train", context_settings=_FORWARD)
def train(context: typer.Context, name: str) -> None:
    """Train a model of this project (needs the extra `train`); --help after the name lists its options."""
    _forward(name, "train", context)


@commands.command("evaluate")
def evaluate(
    name: str,
    data: Annotated[
        Path, typer.Option(exists=True, file_okay=False, help="the model's own samples, or LUNA16's layout")
    ],
    out: Annotated[Path, typer.Option(dir_okay=False, help="JSON of all figures; the plots lie beside it")],
    set_operating_point: Annotated[
        bool,
        typer.Option(
            "--set-operating-point", help="choose it on validation data, write it into the manifest"
        ),
    ] = False,
) -> None:
    """Measure a model on data whose truth is known: FROC, AUC or Dice, calibration, subgroups, plots."""
    from inference.choose import make_endpoint
    from models import registry
    from server.evaluate_model import evaluate_model

    with explained_errors():
        settings = load_settings()
        written = evaluate_model(
            registry.get_model(name, settings.data_directory),
            make_endpoint(settings.engine_choice),
            data,
            out,
            get_model=lambda other: registry.get_model(other, settings.data_directory),
            set_operating_point=set_operating_point,
            report=lambda line: typer.echo(line, err=True),
        )
    for path in written:
        typer.echo(str(path))


@commands.command("export", context_settings=_FORWARD)
def export(
    context: typer.Context, words: Annotated[list[str], typer.Argument(metavar="NAME OPTIONS")]
) -> None:
    """Export a checkpoint to ONNX (NAME …, needs the extra `train`), or models for Triton (--triton DIR [NAME …])."""
    if words[0] == "--help":
        typer.echo(context.get_help())
        return
    if "--triton" in words:
        from server.cli_triton import export as export_for_triton

        app = typer.Typer(add_completion=False)
        app.command()(export_for_triton)
        app(words, prog_name="radmeter models export")
        return
    context.args = words[1:]
    _forward(words[0], "export", context)

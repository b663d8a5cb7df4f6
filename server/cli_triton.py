"""`radmeter triton`: what an operator asks of a Triton server, and the model repository it reads."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from server.cli import explained_errors
from server.settings import load_settings

commands = typer.Typer(no_args_is_help=True)
GROUPS = {"triton": commands}


@commands.callback()
def _group() -> None:
    """A Triton server that runs the models."""


@commands.command("check")
def check() -> None:
    """Ask each model on the server a question with a known answer. Exit code 1 if one fails."""
    from server.triton import check as run

    failed = 0
    with explained_errors():
        for name, problem in run(load_settings()):
            typer.echo(f"{'PROBLEM' if problem else 'ok     '} {name}")
            if problem:
                failed += 1
                typer.echo(f"        {problem}")
    if failed:
        raise typer.Exit(1)


def export(
    folder: Annotated[Path, typer.Option("--triton", help="the model repository, made if it is missing")],
    names: Annotated[
        list[str] | None, typer.Argument(help="models, NAME or NAME@VERSION; all of them without one")
    ] = None,
    backend: Annotated[
        str, typer.Option(help="onnxruntime (NVIDIA's images) or python (also the wheel nvidia-pytriton)")
    ] = "onnxruntime",
    runtime: Annotated[
        str, typer.Option(help="of the python backend: onnxruntime or openvino")
    ] = "onnxruntime",
    accelerator: Annotated[
        str, typer.Option(help="cuda or tensorrt, for the onnxruntime backend on a GPU")
    ] = "",
    accelerator_option: Annotated[
        list[str] | None,
        typer.Option(help="KEY=VALUE of the accelerator, precision_mode=FP16 say; again for more"),
    ] = None,
    instances: Annotated[int, typer.Option(help="of each model at a time, on each GPU")] = 1,
    threads: Annotated[int, typer.Option(help="of one run on the CPU; 0 = one for each core")] = 0,
) -> None:
    """Write a model repository for Triton: for each model config.pbtxt, weights and warm-up."""
    from inference.triton_repository import RepositoryForm, write_repository
    from models.registry import get_model
    from server.triton import models_of

    pairs = [option.partition("=") for option in accelerator_option or []]
    with explained_errors():
        if any(not key or not equals for key, equals, _ in pairs):
            raise typer.BadParameter("an accelerator option is KEY=VALUE")
        data = load_settings().data_directory
        models = [get_model(name, data) for name in names] if names else models_of(load_settings())()
        options = {key: value for key, _, value in pairs}
        form = RepositoryForm(backend, runtime, accelerator, options, instances, threads)
        for name in write_repository(folder, models, form):
            typer.echo(f"{folder / name}")

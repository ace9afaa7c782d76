"""The `snow-deploy` command: one module per command, imported when it is called.

Nothing heavy is imported here or at the top of a command's module: `snow-deploy --help` answers at
once, and on a machine without torch too.
"""

from __future__ import annotations

import click

from snow_deploy.cli.group import CommandEntry, LazyGroup
from snow_runtime import __version__

__all__ = ["COMMANDS", "main"]

COMMANDS = {
    "bench": CommandEntry(
        module="snow_deploy.cli.bench",
        summary="Measure how fast graphs and engines answer here.",
        extra="cpu",
    ),
    "build-engine": CommandEntry(
        module="snow_deploy.cli.build_engine",
        summary="Compile a graph with TensorRT or TensorRT-RTX.",
        extra="rtx",
        makes_files=True,
    ),
    "calibrate": CommandEntry(
        module="snow_deploy.cli.calibrate",
        summary="Make an fp32 graph INT8, if every task keeps its accuracy.",
        extra="train,export,cpu",
        makes_files=True,
    ),
    "cost": CommandEntry(
        module="snow_deploy.cli.cost",
        summary="Count a graph's multiply-adds, bytes and compiled layers.",
        extra="export",
    ),
    "demo": CommandEntry(
        module="snow_deploy.cli.demo",
        summary="Train, export and predict on rendered pictures.",
        extra="train,export,cpu",
        makes_files=True,
    ),
    "doctor": CommandEntry(
        module="snow_deploy.cli.doctor",
        summary="Tell what of this machine works, and how to mend what does not.",
        extra="cpu",
    ),
    "export": CommandEntry(
        module="snow_deploy.cli.export",
        summary="Export tasks of a store as one ONNX graph.",
        extra="export,cpu",
        makes_files=True,
    ),
    "inspect": CommandEntry(
        module="snow_deploy.cli.inspect",
        summary="Tell what a store, a file in it, a graph or an engine holds.",
        extra="export",
    ),
    "paper": CommandEntry(
        module="snow_deploy.cli.paper",
        summary="Repeat the paper's tables and figures on your own data.",
        extra="train,export",
        makes_files=True,
    ),
    "predict": CommandEntry(
        module="snow_deploy.cli.predict",
        summary="Ask an exported graph about photos.",
        extra="cpu",
    ),
    "run": CommandEntry(
        module="snow_deploy.cli.run",
        summary="Ask a model about cameras until it is stopped.",
        extra="cpu,camera",
    ),
    "verify": CommandEntry(
        module="snow_deploy.cli.verify",
        summary="Compare a graph with the networks that it was exported from.",
        extra="export,cpu",
    ),
    "train": CommandEntry(
        module="snow_deploy.cli.train",
        summary="Train one task on a frozen source and add it to a store.",
        extra="train",
        makes_files=True,
        shared=True,
    ),
}


@click.group(
    cls=LazyGroup,
    entries=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "show_default": True},
)
@click.version_option(__version__, prog_name="snow-deploy", message="%(prog)s %(version)s")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def main(*, debug: bool) -> None:
    """Train SNOW multi-task CNNs and deploy them.

    One frozen source network serves every task; each task adds a small network of its own.
    """
    del debug  # LazyGroup reads it where it reports errors

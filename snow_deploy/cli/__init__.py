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
    "agent": CommandEntry(
        "Keep a box at the release that a publication has for it.", "cpu,agent", makes_files=True
    ),
    "bench": CommandEntry("Measure how fast graphs and engines answer here.", "cpu"),
    "build-engine": CommandEntry(
        "Compile a graph with TensorRT or TensorRT-RTX.", "rtx", makes_files=True
    ),
    "calibrate": CommandEntry(
        "Make an fp32 graph INT8, if every task keeps its accuracy.",
        "train,export,cpu",
        makes_files=True,
    ),
    "collect": CommandEntry(
        "Look after pictures that `run --collect` keeps.", "cpu", makes_files=True
    ),
    "config": CommandEntry("Check a configuration file of `run`.", "cpu"),
    "cost": CommandEntry("Count a graph's multiply-adds, bytes and compiled layers.", "export"),
    "demo": CommandEntry(
        "Train, export and predict on rendered pictures.", "train,export,cpu", makes_files=True
    ),
    "doctor": CommandEntry(
        "Tell what of this machine works, and how to mend what does not.", "cpu"
    ),
    "export": CommandEntry(
        "Export tasks of a store as one ONNX graph.", "export,cpu", makes_files=True
    ),
    "fit": CommandEntry(
        "Fit a new task for a running model on photos.", "cpu,learn", makes_files=True
    ),
    "fleet": CommandEntry("Tell how all boxes do, and which have not come back.", "mqtt"),
    "inspect": CommandEntry(
        "Tell what a store, a file in it, a graph or an engine holds.", "export"
    ),
    "label": CommandEntry("Label the pictures of a collection in a browser.", "page"),
    "paper": CommandEntry(
        "Repeat the paper's tables and figures on your own data.", "train,export", makes_files=True
    ),
    "plan": CommandEntry("Find which form of each task a device has time for.", "train,export"),
    "predict": CommandEntry("Ask an exported graph about photos.", "cpu"),
    "publish": CommandEntry(
        "Sign releases for boxes, and let them have them wave by wave.", "publish", makes_files=True
    ),
    "run": CommandEntry("Ask a model about cameras until it is stopped.", "cpu,camera"),
    "score": CommandEntry(
        "Score an archive of pictures into Parquet files.", "cpu,score", makes_files=True
    ),
    "train": CommandEntry(
        "Train one task on a frozen source and add it to a store.",
        "train",
        makes_files=True,
        shared=True,
    ),
    "triton": CommandEntry(
        "Put a graph or an engine into a repository of Triton.", "triton", makes_files=True
    ),
    "verify": CommandEntry(
        "Compare a graph with the networks that it was exported from.", "export,cpu"
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

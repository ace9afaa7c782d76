"""A graph that is to leave this machine, tried here before: does it answer as it was exported?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from snow_runtime.errors import MissingDependencyError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def try_graph(graph: Path, readouts: Sequence[Path] = ()) -> None:
    """Load a graph on the CPU, and compare its answers with those in its manifest.

    Where ONNX Runtime is not installed a note says that it was not tried.

    Args:
        graph: An ONNX graph, not an engine.
        readouts: Files of readouts for it; each is tried on it.

    Raises:
        GraphError: It cannot be loaded, or it answers otherwise: it was damaged or changed.
        ReadoutError: A readout is none, is not for this graph, or answers otherwise.
    """
    from snow_runtime.model import load

    try:
        model = load(graph, ["CPUExecutionProvider"], unlikeness=False)
    except MissingDependencyError:
        click.echo(
            f"note: {click.format_filename(graph)} was not tried: ONNX Runtime is not installed "
            "(extra cpu)",
            err=True,
        )
        return
    with model:
        model.self_check()
        for readout in readouts:
            model.add_readout(readout)

"""Choosing among graphs or engines that answer the same, by a measurement on this machine."""

from __future__ import annotations

import os
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from snow_runtime.bench.errors import BenchError
from snow_runtime.bench.options import QUICK_DURATION_S, BenchOptions
from snow_runtime.bench.run import bench
from snow_runtime.engine.files import read_engine, read_record, write_engine
from snow_runtime.engine.make import BuiltEngine, build_engine
from snow_runtime.files import atomic_write, writing
from snow_runtime.machine.driver import gpu_here
from snow_runtime.model import is_engine

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from snow_runtime.engine.options import BuildOptions

_SUFFIXES: Final = (".onnx", ".engine")


def medians_ms(document: Mapping[str, Any]) -> dict[str, float]:
    """Return by file name the median latency of a call, the fastest first.

    Args:
        document: What a bench's report gives as a table.

    Raises:
        BenchError: The measurement was interrupted, or a contender has no times.
    """
    found = {it["name"]: it["latency"] for it in document["contenders"]}
    if document["interrupted"] or not all(found.values()):
        msg = (
            "Not every contender was measured, so none can be called the fastest. Let the "
            "measurement end."
        )
        raise BenchError(msg)
    times = {name: float(latency["p50_ms"]) for name, latency in found.items()}
    return dict(sorted(times.items(), key=lambda it: it[1]))


def check_keep(output: Path, models: Sequence[Path]) -> None:
    """See before a measurement whether its fastest contender can be kept.

    Args:
        output: Path to keep it at. Its suffix is `.onnx` for graphs and `.engine` for engines,
            which is how they are told apart when they are loaded; one of both, or none, for
            contenders of either kind: :func:`kept_as` then says which.
        models: The contenders.

    Raises:
        BenchError: The suffix does not fit, or the folder cannot be written to.
    """
    suffixes = {_suffix(model) for model in models}
    if output.suffix not in (suffixes if len(suffixes) == 1 else ("", *_SUFFIXES)):
        msg = (
            f"The fastest cannot be kept as {output}: its name ends in {output.suffix!r}, expected "
            f"{' or '.join(map(repr, sorted(suffixes)))}, by which it is known as a graph or an "
            "engine. Give another --keep."
        )
        raise BenchError(msg)
    with (
        writing(output, BenchError, "Give another --keep."),
        tempfile.TemporaryFile(dir=output.parent),
    ):
        pass


def kept_as(output: Path, model: Path) -> Path:
    """Give the path to keep a contender at: with the suffix of its kind, whatever was asked for."""
    suffix = _suffix(model)
    return output.with_suffix(suffix) if output.suffix in ("", *_SUFFIXES) else output


def _suffix(model: Path) -> str:
    return ".engine" if is_engine(model) else ".onnx"


def keep(model: Path, output: Path) -> None:
    """Copy a graph with the weights beside it, or an engine with its record, in one piece.

    Raises:
        EngineError: An engine is damaged, or cannot be written.
        BenchError: A graph cannot be written.
        GraphError: A graph is damaged, or is too large for one file.
    """
    from snow_runtime.graph.weights_beside import whole_graph

    if is_engine(model):
        record, content = read_engine(model)
        graph = os.path.relpath((model.parent / record.graph).resolve(), output.resolve().parent)
        write_engine(output, content, replace(record, graph=graph))
        return
    content = whole_graph(model)
    with writing(output, BenchError, "Give another --keep."), atomic_write(output) as stream:
        stream.write(content)


def build_fastest(
    graphs: Sequence[Path], output: Path, options: BuildOptions, **how: Any
) -> tuple[BuiltEngine, dict[str, float]]:
    """Build an engine of each graph, time them here, and keep the fastest.

    Args:
        graphs: The same tasks in several layouts; their names differ.
        output: Path that the fastest goes to.
        options: Options of the measurement, for all of them.
        how: Options of the build, as for :func:`snow_runtime.engine.make.build_engine`.

    Returns:
        The engine that was kept, and by graph the median latency in milliseconds, the fastest
        first.

    Raises:
        BenchError: There is no GPU here to time them on, or two graphs have one name.
        SnowError: As for building and for measuring.
    """
    if gpu_here() is None:
        msg = (
            "Engines are compared by running them, and there is no GPU here that works. Build one "
            "of the graphs, or build on the device ('snow-deploy doctor' says what works)."
        )
        raise BenchError(msg)
    names = {f"{graph.stem}.engine": graph for graph in graphs}
    if len(names) < len(graphs):
        msg = "Two of the graphs have one name. Give each a name of its own."
        raise BenchError(msg)
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / name for name in names]
        built = {
            path.name: build_engine(graph, path, options, **how)
            for path, graph in zip(paths, names.values(), strict=True)
        }
        measured = bench(BenchOptions(models=tuple(paths), duration_s=QUICK_DURATION_S, starts=1))
        times = medians_ms(measured.to_dict())
        best = next(iter(times))
        keep(Path(folder) / best, output)
    chosen = replace(built[best], record=read_record(output))
    return chosen, {str(names[name]): time_ms for name, time_ms in times.items()}

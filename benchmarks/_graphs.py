"""The contenders as ONNX files, each written and checked by the exporter as any graph is."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np

from benchmarks._readouts import readouts
from snow_deploy.stages.export_request import tap_entries
from snow_export.export import ExportRequest, GraphOptions, export_graph
from snow_export.inspect.owners import SOURCE
from snow_runtime.backends.onnxruntime_session import OnnxSession
from snow_runtime.graph.manifest import Preprocessing, SourceEntry, TaskEntry

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import nn

    from benchmarks._scenario import Fleet
    from snow_deploy.models.source import Source
    from snow_runtime.graph.manifest import Layout

_PICTURES = 3  # for the exporter's own check of its file


class GraphMaker:
    """Writes graphs of one fleet into a folder."""

    def __init__(self, fleet: Fleet, folder: Path, *, with_features: bool = False) -> None:
        """Take the networks and the folder, and whether graphs give out the source's features."""
        self.fleet = fleet
        self._with_features = with_features
        if with_features:
            fleet.source.pool_taps()
        self.folder = folder
        self.size = fleet.scenario.image_size

    def source(self) -> Path:
        """Write the source alone, an ordinary classifier."""
        return self._write("source", self.fleet.source, {})

    def whole_models(self, count: int) -> list[Path]:
        """Write one graph a task, each a whole network: the source and `count` more."""
        models = self.fleet.whole_models(count)
        return [self.source()] + [
            self._write(f"whole_{name}", model, {}) for name, model in models.items()
        ]

    def shared(self, layout: Layout, count: int) -> Path:
        """Write the source with its own head and `count` deltas."""
        deltas = self.fleet.deltas(count)
        return self._write(f"{layout}_{count + 1}", self.fleet.source, deltas, layout)

    def beside(self, name: str, networks: Mapping[str, nn.Module]) -> Path:
        """Write the source with its own head and networks of any scheme, fused."""
        return self._write(name, self.fleet.source, networks)

    def probes(self, count: int) -> Path:
        """Write the source with its own head and `count` linear classifiers on its features."""
        return self._write("linear", self.fleet.source, self.fleet.probes(count), "separate")

    def readouts(self, count: int, *, own_head: bool = False) -> Path:
        """Write the source with `count` readouts, and with its own head only if asked."""
        fleet = self.fleet
        networks = readouts(fleet.source, fleet.tasks(count), fleet.scenario.seed)
        return self._write(f"readouts_{count}", fleet.source, networks, own_head=own_head)

    def timed_export(self, layout: Layout, count: int) -> tuple[Path, float]:
        """Write a shared graph; return it and the seconds of `export_graph`, its check included.

        Building the networks is not in the time, for a store holds them already.
        """
        deltas = self.fleet.deltas(count)
        started = time.perf_counter()
        path = self._write(f"{layout}_{count + 1}", self.fleet.source, deltas, layout)
        return path, time.perf_counter() - started

    def _write(
        self,
        name: str,
        source: Source,
        deltas: Mapping[str, nn.Module],
        layout: Layout = "fused",
        *,
        own_head: bool = True,
    ) -> Path:
        path = self.folder / f"{name}.onnx"
        if path.exists():
            return path
        classes = self.fleet.tasks(len(deltas))
        entries = [_entry(SOURCE, source.num_classes)] if own_head else []
        entries += [_entry(task, classes[task]) for task in deltas]
        shape = (_PICTURES, self.size, self.size, 3)
        request = ExportRequest(
            source=source,
            source_entry=SourceEntry(
                source.architecture, source.fingerprint, source.count_parameters()
            ),
            networks=deltas,
            tasks=tuple(entries),
            preprocessing=Preprocessing.for_size(self.size),
            pictures=np.random.default_rng(0).integers(0, 256, shape, np.uint8),
            versions={},
            options=GraphOptions(layout=layout),
            features=tap_entries(source) if self._with_features else {},
            never_fused=frozenset(  # as `snow-deploy export` leaves them
                name for name, each in deltas.items() if not getattr(each, "fuses", True)
            ),
        )
        export_graph(request, path)
        return path


def open_on_cpu(path: Path, threads: int) -> OnnxSession:
    """Open a graph in ONNX Runtime on the CPU."""
    return OnnxSession(path, providers=["CPUExecutionProvider"], threads=threads)


def _entry(task: str, classes: int) -> TaskEntry:
    return TaskEntry(task, task, tuple(f"class {number}" for number in range(classes)))

"""From a graph to an engine on the disk: prepared, compiled, verified, recorded, cached."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Literal

from snow_runtime._version import __version__
from snow_runtime.engine.achieved import achieved
from snow_runtime.engine.backend import PORTABLE, TARGETS, BackendName, find_backend
from snow_runtime.engine.build import build_plan
from snow_runtime.engine.build_memory import read_build_memory, workspace
from snow_runtime.engine.cache import (
    EngineCache,
    cache_key,
    default_folder,
    read_timing_cache,
    timing_cache_path,
    write_timing_cache,
)
from snow_runtime.engine.files import check_writable, write_engine
from snow_runtime.engine.host import Host, this_host
from snow_runtime.engine.paths import record_path
from snow_runtime.engine.prepare import PreparedGraph, prepare_graph
from snow_runtime.engine.progress import BuildProgress
from snow_runtime.engine.record import EngineRecord
from snow_runtime.errors import EngineError

if TYPE_CHECKING:
    from pathlib import Path

    from snow_runtime.engine.backend import Backend
    from snow_runtime.engine.build import CompiledPlan
    from snow_runtime.engine.options import BuildOptions
    from snow_runtime.machine.driver import Gpu
    from snow_runtime.progress import ProgressCallback


@dataclass(frozen=True)
class BuiltEngine:
    """An engine on the disk.

    Attributes:
        record: What it is.
        cached: Whether it was taken from the cache rather than compiled.
        notices: What did not go as asked for, in sentences.
    """

    record: EngineRecord
    cached: bool
    notices: tuple[str, ...]


def build_engine(
    graph: Path,
    output: Path,
    options: BuildOptions,
    *,
    backend_name: BackendName | Literal["auto"] = "auto",
    cache: EngineCache | None = None,
    timing_cache: Path | None = None,
    progress: ProgressCallback | None = None,
) -> BuiltEngine:
    """Build an engine and write it with its record.

    Args:
        graph: An exported or calibrated ONNX graph.
        output: Path that the plan goes to; the record goes beside it.
        options: What it is to be.
        backend_name: What to build with.
        cache: Engines of earlier builds; None uses and keeps none.
        timing_cache: What TensorRT has learnt; None for the file of this TensorRT and GPU.
        progress: Callback that gets the phase and the share of the build that is done.

    Raises:
        GraphError: The graph cannot be used.
        EngineError: It cannot be built as asked for, is not what was asked for, or not written.
        MissingDependencyError: TensorRT or onnx is not installed.
        KeyboardInterrupt: Ctrl-C was pressed; nothing was written.
    """
    output = output.resolve()  # of a link, plan and record go where it points
    backend = find_backend(backend_name, cross=bool(options.targets))
    check_writable(output)
    host, gpu = this_host()
    prepared = prepare_graph(graph, options.precision)
    _spare(output, prepared)
    resolved = _resolve(options, prepared, backend, gpu)
    here = None if resolved.targets else gpu  # what is built for elsewhere cannot use its memory
    limit, notices = workspace(resolved.workspace_bytes, here, read_build_memory())
    work = _Build(prepared, resolved, backend, host, limit, timing_cache, progress)
    if cache is None:
        content, record, said = work.run()
        cached = False
    else:
        content, record, said, cached = _from(cache, work)
    notices += said
    relative = os.path.relpath(graph.resolve(), output.resolve().parent)
    record = replace(record, graph=relative)
    with BuildProgress().interruptible():  # Ctrl-C waits until both files are there
        write_engine(output, content, record)
    return BuiltEngine(record, cached, tuple(notices))


@dataclass(frozen=True)
class _Build:
    """One build, with all that it depends on."""

    prepared: PreparedGraph
    options: BuildOptions
    backend: Backend
    host: Host
    workspace_bytes: int | None
    timing_cache: Path | None
    progress: ProgressCallback | None

    @property
    def key(self) -> str:
        return cache_key(
            self.prepared.sha256, self.options, self.backend.name, self.backend.version, self.host
        )

    def run(self) -> tuple[bytes, EngineRecord, list[str]]:
        """Compile and verify."""
        learnt = self._timing_cache()
        plan = build_plan(
            self.prepared.content,
            self.backend,
            self.options,
            beside=self.prepared.beside,
            workspace_bytes=self.workspace_bytes,
            timing_cache=read_timing_cache(learnt) if learnt else b"",
            progress=self.progress,
        )
        notices = list(plan.notices)
        if self.options.dla is not None:
            notices.append(
                "TensorRT moves layers that the accelerator lacks to the GPU without a word, and "
                "lists those on it as one: neither their precision nor their share is verified."
            )
        if learnt and plan.timing_cache:
            failure = write_timing_cache(learnt, plan.timing_cache)
            notices += [failure] if failure else []
        return plan.content, self._record(plan), notices

    def _timing_cache(self) -> Path | None:
        if self.backend.times_kernels:
            folder = default_folder()
            own = None if folder is None else timing_cache_path(folder, self.backend, self.host)
            return self.timing_cache or own
        if self.timing_cache is None:
            return None
        msg = (
            f"{self.backend.title} times no kernels while it builds, so it has no timing cache: "
            "the device chooses. Leave --timing-cache out."
        )
        raise EngineError(msg)

    def _record(self, plan: CompiledPlan) -> EngineRecord:
        manifest = self.prepared.manifest
        quantised = self.prepared.quantised
        found = achieved(plan.layers, plan.convolutions, manifest.precision, quantised)
        if self.options.dla is None:
            found.demand(self.options.least_share)
        return EngineRecord(
            plan_sha256=hashlib.sha256(plan.content).hexdigest(),
            plan_bytes=len(plan.content),
            graph="graph",  # where it lies, as seen from the engine: known when that is written
            graph_sha256=self.prepared.sha256,
            backend=plan.backend,
            version=plan.version,
            host=self.host,
            options=self.options,
            inputs={it.name: (it.smallest, it.best, it.largest) for it in plan.inputs},
            manifest=manifest,
            achieved=found,
            compute_layers=len(plan.compute_layers),
            build_s=round(plan.build_s, 3),
            built_at=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            snow_deploy=__version__,
        )


def _spare(output: Path, prepared: PreparedGraph) -> None:
    """Refuse to write over the graph or its weights."""
    mine = {output, record_path(output)}
    for file in prepared.files:
        if file.resolve() in mine:
            msg = f"{file} belongs to the graph and would be lost. Give another -o."
            raise EngineError(msg)


def _from(cache: EngineCache, work: _Build) -> tuple[bytes, EngineRecord, list[str], bool]:
    """Take the engine from the cache, or build it and put it there."""
    reason = cache.unusable()
    if reason is not None:
        content, record, notices = work.run()
        return content, record, [f"The engine cache was not used: {reason}.", *notices], False
    with cache.building(work.key):
        found = cache.find(work.key)
        if found is not None:
            return *found, [], True
        content, record, notices = work.run()
        try:
            cache.keep(work.key, content, record)
        except EngineError as error:
            why = error.__cause__ or error
            notices.append(f"The engine was not kept in the cache, {cache.folder}: {why}.")
        return content, record, notices, False


def _resolve(
    options: BuildOptions, prepared: PreparedGraph, backend: Backend, gpu: Gpu | None
) -> BuildOptions:
    """Say all that the user has left open."""
    targets: tuple[str, ...] = ()
    if backend.cross_compiles:
        targets = (gpu.target,) if gpu is not None and gpu.target in TARGETS else PORTABLE
    elif gpu is None:
        msg = (
            f"{backend.title} builds on the GPU that the engine is for, and there is none here "
            "that works ('snow-deploy doctor' says why). Build on the device, or give --backend "
            "tensorrt-rtx with --target for a GeForce or RTX GPU."
        )
        raise EngineError(msg)
    return options.resolved(prepared.manifest.precision, prepared.batch, targets)

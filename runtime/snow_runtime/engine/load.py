"""Opening an engine: everything is checked before TensorRT sees a byte, for a plan runs code."""

from __future__ import annotations

import logging
import os
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from snow_runtime.engine.backend import Backend, find_backend, start_tensorrt
from snow_runtime.engine.cache import EngineCache, default_folder
from snow_runtime.engine.files import read_engine, read_record, write_engine
from snow_runtime.engine.host import Host, this_host
from snow_runtime.engine.log import collect_log
from snow_runtime.engine.paths import record_path
from snow_runtime.engine.prepare import prepare_graph
from snow_runtime.errors import (
    BuiltElsewhereError,
    EngineError,
    MissingDependencyError,
    SnowError,
)
from snow_runtime.file_lock import hold_lock

if TYPE_CHECKING:
    from pathlib import Path

    from snow_runtime.engine.record import EngineRecord

Rebuild = Literal["never", "auto"]

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class OpenEngine:
    """A plan that TensorRT has loaded.

    Attributes:
        record: What it is.
        backend: The library that runs it.
        engine: TensorRT's `ICudaEngine`.
        runtime: TensorRT's `Runtime`, which has to live as long.
    """

    record: EngineRecord
    backend: Backend
    engine: Any
    runtime: Any


def open_engine(path: Path, rebuild: Rebuild = "never") -> OpenEngine:
    """Check an engine against its record and this machine, and load it.

    Args:
        path: The plan; its record lies beside it.
        rebuild: `auto` builds it anew from its graph where it cannot be loaded here.

    Raises:
        EngineError: A file is missing, damaged or swapped, or TensorRT does not load it.
        BuiltElsewhereError: It was made for another TensorRT or GPU; the message says for which,
            what is here, and the command that builds it anew.
        MissingDependencyError: The library that runs it is not installed.
    """
    path = path.resolve()  # of a link, the record lies where it points
    record = read_record(path)
    try:
        return _open(path)
    except EngineError as error:
        host, _ = this_host()
        if rebuild == "never" or host.gpu is None:  # what was built without one would be a guess
            raise
        _LOGGER.warning("%s Building it anew.", error)
        return _rebuild(path, record, error, host)


def check_fits(path: Path, record: EngineRecord, backend: Backend, host: Host) -> None:
    """Refuse an engine that was made for another TensorRT, GPU or system.

    Raises:
        BuiltElsewhereError: It does not run here.
    """
    reason = _other_library(record, backend) or _other_machine(record, host)
    if reason is not None:
        message = (
            f"{path} does not run here: {reason} It was built by {record.title} on {record.host} "
            f"for {', '.join(record.options.targets) or record.host.target}; here are "
            f"{backend.title} and {host}."
        )
        if host.gpu is not None:
            options = record.options.for_backend(backend.name)
            own = replace(record, backend=backend.name, options=options)
            message += f" Build it for this machine: {own.command(path, portable=True)}"
        raise BuiltElsewhereError(message)


def _other_library(record: EngineRecord, backend: Backend) -> str | None:
    if record.backend != backend.name:
        return f"it is an engine of {record.title}."
    if record.version == backend.version:
        return None
    if record.options.version_compatible and _numbers(record.version) <= _numbers(backend.version):
        return None
    return f"it needs {record.title} exactly, and {backend.title} is installed."


def _other_machine(record: EngineRecord, host: Host) -> str | None:
    if host.gpu is None or host.target is None:
        return "there is no GPU that works ('snow-deploy doctor' says why)."
    targets = record.options.targets
    if targets:  # TensorRT-RTX: the same on all systems; newer GPUs than all targets, it decides
        newest = max(_capability(target) for target in targets)
        fits = host.target in targets or _capability(host.target) > newest
        return None if fits else f"it was not compiled for {host.target}."
    if record.host.platform != host.platform:
        return f"it was built on {record.host.platform}, and this is {host.platform}."
    if record.options.hardware_compatible:
        old = _capability(host.target) < _capability("sm80")
        return "it needs a GPU from Ampere on." if old else None
    if record.host.target != host.target:
        return f"it was compiled for {record.host.target} only."
    if record.host.gpu != host.gpu:
        _LOGGER.warning(
            "the engine was tuned on a %s and runs on a %s: it may be slower than one built here",
            record.host.gpu,
            host.gpu,
        )
    return None


def _open(path: Path) -> OpenEngine:
    record, content = read_engine(path)
    host, _ = this_host()
    backend = _backend(record)
    check_fits(path, record, backend, host)
    trt = backend.module
    with collect_log(trt) as log:
        runtime = start_tensorrt(backend, trt.Runtime, log)
        if record.options.dla is not None:
            runtime.DLA_core = record.options.dla
        if record.options.version_compatible:
            runtime.engine_host_code_allowed = True  # the plan's hash is its record's
        engine = runtime.deserialize_cuda_engine(content)
        if engine is None:
            msg = (
                f"{backend.title} does not load {path}: {log.last_error} Build it anew: "
                f"{record.command(path, portable=True)}"
            )
            raise BuiltElsewhereError(msg)
        if record.options.strip_weights:
            _put_weights_in(path, record, backend, engine, log.logger)
    return OpenEngine(record, backend, engine, runtime)


def _backend(record: EngineRecord) -> Backend:
    """Import what built the engine; where only the other library is here, that one."""
    try:
        return find_backend("tensorrt" if record.backend == "tensorrt" else "tensorrt-rtx")
    except MissingDependencyError:
        with suppress(MissingDependencyError):
            return find_backend()
        raise


def _put_weights_in(
    path: Path, record: EngineRecord, backend: Backend, engine: Any, logger: Any
) -> None:
    """Give an engine without weights those of its graph."""
    graph = _graph(path, record, "holds the weights that were stripped from it")
    trt = backend.module
    prepared = prepare_graph(graph, record.options.precision)
    refitter = trt.Refitter(engine, logger)
    parser = trt.OnnxParserRefitter(refitter, logger)
    beside = [] if prepared.beside is None else [str(prepared.beside)]
    if not parser.refit_from_bytes(prepared.content, *beside) or not refitter.refit_cuda_engine():
        msg = (
            f"{backend.title} cannot put the weights of {graph} into {path}. Build it anew: "
            f"{record.command(path)}"
        )
        raise EngineError(msg)


def _rebuild(path: Path, record: EngineRecord, failure: EngineError, host: Host) -> OpenEngine:
    """Build an engine aside, load it, and only then put it in the old one's place."""
    from snow_runtime.engine.make import build_engine

    graph = _graph(path, record, "is what it would be built anew from", failure)
    backend = _backend(record)
    targets = (host.target,) if backend.cross_compiles and host.target is not None else ()
    options = replace(record.options.for_backend(backend.name), targets=targets)
    folder = default_folder()
    aside = path.with_name(f".new-{path.name}")
    with hold_lock(path) if os.access(path, os.W_OK) else nullcontext():
        if read_record(path) != record:  # another process has built it meanwhile
            return _open(path)
        try:
            built = build_engine(
                graph,
                aside,
                options,
                backend_name=backend.name,
                cache=None if folder is None else EngineCache(folder / "engines"),
            )
            opened = _open(aside)
            write_engine(path, aside.read_bytes(), built.record)
        finally:
            for leftover in (aside, record_path(aside)):
                leftover.unlink(missing_ok=True)
    for notice in built.notices:
        _LOGGER.warning("%s", notice)
    return opened


def _graph(path: Path, record: EngineRecord, role: str, failure: EngineError | None = None) -> Path:
    """Return the graph that an engine was built from, if it is still the same."""
    graph = path.parent / record.graph
    try:
        same = graph.is_file() and prepare_graph(graph, None).sha256 == record.graph_sha256
        state = "has changed since" if graph.is_file() else "is not there"
    except (SnowError, OSError) as error:
        same, state = False, f"cannot be read ({error})"
    if same:
        return graph
    message = f"The graph {graph} {state}, and it {role}. Copy it there beside {path}."
    raise EngineError(message if failure is None else f"{failure} {message}") from failure


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isascii() and part.isdigit())


def _capability(target: str) -> int:
    return int(target.removeprefix("sm"))

"""A release of a graph, readouts and a configuration, checked before it is signed."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Literal

from snow_deploy.fleet.bill import bill_of_materials
from snow_deploy.fleet.config_secrets import refuse_secrets
from snow_deploy.fleet.errors import PublishError
from snow_deploy.fleet.graph_parts import Stretch, external_tensors
from snow_deploy.fleet.packing import packer_for, save_places
from snow_deploy.fleet.prune import bill_path
from snow_deploy.fleet.waves import begin_rollout
from snow_runtime.graph.onnx_file import read_graph
from snow_runtime.readout.file import SUFFIX, ReadoutFile
from snow_runtime.update.release import NAME, Release, ReleaseFile
from snow_runtime.update.wanted import ROLLOUT, release_path

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from snow_deploy.fleet.packing import Packer
    from snow_deploy.fleet.publication import Publication
    from snow_runtime.update.rollout import Wave


@dataclass(frozen=True)
class ReleaseRequest:
    """What a release is to consist of.

    Attributes:
        name: Name of the release.
        graph: The graph; on a box it keeps the file's name.
        readouts: Files of readouts; on a box they lie in `readouts`.
        config: A configuration file of `run`; None for none.
        engine: Precision of the engine that each box builds; None for no engine.
        budget_ms: Longest time of one answer, in milliseconds; None for any.
        watch_s: How long each box watches it before it counts as good.
        waves: Waves in which boxes get it.
        changes: Number of earlier releases from which boxes can take the changes alone.
    """

    name: str
    graph: Path
    readouts: tuple[Path, ...] = ()
    config: Path | None = None
    engine: Literal["fp32", "fp16", "int8"] | None = None
    budget_ms: float | None = None
    watch_s: float = 600.0
    waves: tuple[Wave, ...] = field(default=())
    changes: int = 2


@dataclass(frozen=True)
class PublishedRelease:
    """What became of it.

    Attributes:
        release: The release.
        new_bytes: What a box downloads that has the release before.
        whole_bytes: What a box downloads that has nothing.
    """

    release: Release
    new_bytes: int
    whole_bytes: int


def publish_release(publication: Publication, request: ReleaseRequest) -> PublishedRelease:
    """Publish a release, and begin its rollout.

    Raises:
        PublishError: Its name is taken or none, a rollout goes on, or a file is not usable.
        GraphError, ReadoutError: The graph or a readout is none, or they do not fit.
    """
    releases = publication.releases()
    _check_name(request.name, releases)
    rollout = begin_rollout(publication.rollout(), request.name, request.waves)
    check_files(request)
    packer = packer_for(publication, releases, request.changes)
    files = list(_pack_all(packer, request))
    release = Release(
        format=1,
        name=request.name,
        number=1 + max((each.number for each in releases), default=0),
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        model=request.graph.name,
        pieces=tuple(packer.pieces),
        files=tuple(files),
        readouts=tuple(f"readouts/{path.name}" for path in request.readouts),
        config=None if request.config is None else request.config.name,
        engine=request.engine,
        budget_ms=request.budget_ms,
        watch_s=request.watch_s,
    )
    record = release.to_json().encode()
    save_places(publication, release, packer.places)
    publication.publish(
        {
            release_path(release.name): record,
            bill_path(release.name): bill_of_materials(release, request.graph),
            ROLLOUT: rollout.to_json().encode(),
        }
    )
    whole = sum(
        blob.size_bytes for piece in release.pieces for blob in piece.blobs if blob.base is None
    )
    return PublishedRelease(release, packer.new_bytes + len(record), whole + len(record))


def _check_name(name: str, releases: Sequence[Release]) -> None:
    if not re.fullmatch(NAME, name):
        msg = (
            f"{name!r} is no name of a release, expected up to 64 letters, digits, '.', '_' and "
            "'-'. Give one such as 2026-11-29."
        )
        raise PublishError(msg)
    if name in [each.name for each in releases]:
        msg = f"The release {name} is published already, and stays as it is. Give another name."
        raise PublishError(msg)


def check_files(request: ReleaseRequest) -> None:
    """Look whether boxes could use the files: what cannot work is not sent to a hundred of them.

    Raises:
        PublishError: A file is not usable, or the configuration holds a secret.
        GraphError, ReadoutError: The graph or a readout is none.
    """
    graph = read_graph(request.graph)
    if graph.manifest is None:
        msg = (
            f"{request.graph} has no manifest, expected a graph of 'snow-deploy export' or "
            "'calibrate'. Publish one of those."
        )
        raise PublishError(msg)
    if request.graph.suffix != ".onnx":
        msg = (
            f"{request.graph} has another name than boxes load graphs by, expected one that ends "
            "with .onnx. Rename it."
        )
        raise PublishError(msg)
    names = [path.name for path in request.readouts]
    if len(set(names)) != len(names):
        msg = f"Two readouts have the same file name among {', '.join(names)}. Rename one."
        raise PublishError(msg)
    for path in request.readouts:
        if path.suffix != SUFFIX:
            msg = f"{path} is no readout, expected a file of 'snow-deploy fit' ({SUFFIX})."
            raise PublishError(msg)
        ReadoutFile.read(path)
    if request.config is not None:
        refuse_secrets(request.config)


def _pack_all(packer: Packer, request: ReleaseRequest) -> Iterator[ReleaseFile]:
    beside: dict[Path, list[Stretch]] = external_tensors(request.graph)
    folder = request.graph.parent.resolve()
    yield packer.pack(request.graph, request.graph.name)
    for path, tensors in beside.items():
        yield packer.pack(path, path.relative_to(folder).as_posix(), tensors)
    for path in request.readouts:
        yield packer.pack(path, f"readouts/{path.name}")
    if request.config is not None:
        yield packer.pack(request.config, request.config.name)

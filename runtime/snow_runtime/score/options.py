"""What a scoring job is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

SHARD_ROWS: Final = 2048


@dataclass(frozen=True)
class ScoreOptions:
    """What decides the rows of a job; a job that goes on must have the same.

    Attributes:
        inputs: What is scored: folders, globs, pictures, tars and Parquet files, as paths or URIs.
        features: Whether the source's pooled features are written too.
        batch: Pictures that are computed together. With 1 each is computed as `predict` does;
            with more the last bits may differ.
        shard_rows: Most pictures of a shard, where it is no tar: what an interruption loses at most
            of each process. The first shards have fewer.
        column: Parquet column of the pictures' bytes or paths; None to find it.
        id_column: Parquet column of the ids; None to find it.
    """

    inputs: tuple[str, ...]
    features: bool = False
    batch: int = 1
    shard_rows: int = SHARD_ROWS
    column: str | None = None
    id_column: str | None = None


@dataclass(frozen=True)
class JobFiles:
    """Which model answers, and where its answers go.

    Attributes:
        model: The graph or engine.
        readouts: Readouts that are answered beside its own tasks.
        output: Folder of the parts, a path or URI.
        threads: CPU threads of a process; None leaves the choice to ONNX Runtime.
    """

    model: Path
    readouts: tuple[Path, ...]
    output: str
    threads: int | None = 1


@dataclass(frozen=True)
class RayOptions:
    """How a job is spread by Ray.

    Attributes:
        address: Address of a cluster, `auto`, or `local` for one that is started here.
        actors: Fewest and most actors, each with a model of its own.
        gpus: GPUs of an actor; 0 for one that computes on the CPU.
    """

    address: str
    actors: tuple[int, int]
    gpus: float = 0.0

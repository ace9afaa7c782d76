"""What a process that fits gets and gives: files in a folder of its own, each whole or absent.

::

    job.npz        features, targets, where and when the pictures were taken
    fitted.readout the readout
    evidence.npz   what the pictures were answered while held out
    done.json      written last of the three: the fit is whole
    report.json    the learning curve; comes later
    failed.json    in the place of `done.json`: why there is none

Axes: M pictures; F features; C labels.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from snow_runtime.files import atomic_write
from snow_runtime.graph.manifest import Manifest
from snow_runtime.refit.groups import Taken

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

JOB: Final = "job.npz"
READOUT: Final = "fitted.readout"
EVIDENCE: Final = "evidence.npz"
DONE: Final = "done.json"
REPORT: Final = "report.json"
FAILED: Final = "failed.json"
LOG: Final = "log.txt"


@dataclass(frozen=True, eq=False)
class FitJob:
    """What is to be fitted.

    Attributes:
        name: Name of the question.
        labels: The C labels.
        targets: int64 `[M]`, which label is right; or bool `[M, C]` where several may be.
        ids: int64 `[M]`, the collection's numbers of the pictures.
        features: float16 `[M, F]`.
        taken: Where and when they were taken.
        random: bool `[M]`, which were drawn at random.
        check: float32 `[F]`, features of the check picture.
        manifest: What the graph is that gave the features.
        memory_bytes: Largest memory of the process; 0: no bound.
    """

    name: str
    labels: tuple[str, ...]
    targets: NDArray[np.int64] | NDArray[np.bool_]
    ids: NDArray[np.int64]
    features: NDArray[np.float16]
    taken: Taken
    random: NDArray[np.bool_]
    check: NDArray[np.float32]
    manifest: Manifest
    memory_bytes: int = 0

    def write(self, folder: Path) -> None:
        """Write it into a folder.

        Raises:
            OSError: It cannot be written.
        """
        said = {
            "name": self.name,
            "labels": self.labels,
            "manifest": self.manifest.to_json(),
            "memory_bytes": self.memory_bytes,
        }
        with atomic_write(folder / JOB) as stream:
            np.savez(
                stream,
                said=np.frombuffer(json.dumps(said).encode(), np.uint8),
                targets=self.targets,
                ids=self.ids,
                features=self.features,
                cameras=self.taken.cameras,
                times=self.taken.times,
                timed=self.taken.timed,
                random=self.random,
                check=self.check,
            )

    @classmethod
    def read(cls, folder: Path) -> FitJob:
        """Read what :meth:`write` wrote."""
        with np.load(folder / JOB, allow_pickle=False) as table:
            said: dict[str, Any] = json.loads(table["said"].tobytes())
            return cls(
                said["name"],
                tuple(said["labels"]),
                table["targets"],
                table["ids"],
                table["features"],
                Taken(table["cameras"], table["times"], table["timed"]),
                table["random"],
                table["check"],
                Manifest.from_json(said["manifest"]),
                said["memory_bytes"],
            )


def write_json(path: Path, data: dict[str, Any]) -> None:
    """Write a small document, whole or not at all."""
    with atomic_write(path, "w") as stream:
        json.dump(data, stream)


def read_note(path: Path) -> dict[str, Any] | None:
    """Read a small document; None where it is not there."""
    try:
        found: dict[str, Any] = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return None
    return found

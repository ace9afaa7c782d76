"""What is measured, and how thoroughly."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from snow_runtime.bench.errors import BenchError

if TYPE_CHECKING:
    from pathlib import Path

    from snow_runtime.pictures.preprocessing import Colour

DURATION_S: Final = 10.0
STARTS: Final = 3

QUICK_DURATION_S: Final = 1.0
QUICK_STARTS: Final = 1


@dataclass(frozen=True)
class BenchOptions:
    """What is measured, and how thoroughly.

    Attributes:
        models: The contenders, graphs or engines; the first is the one that others are compared to.
        batch: Pictures of one call.
        threads: CPU threads within one call of a graph; None leaves the choice to ONNX Runtime.
        duration_s: Seconds of timed calls of each contender, all its turns together.
        camera: Width and height of the frames, in pixels.
        colour: Order of the frames' channels; OpenCV and `snow_runtime.cameras` give `bgr`.
        starts: How often each contender is started in a process of its own.
        seed: Seed of the random frames, and of the bootstrap.

    Raises:
        BenchError: A contender is missing, or two have the same file name.
    """

    models: tuple[Path, ...]
    batch: int = 1
    threads: int | None = None
    duration_s: float = DURATION_S
    camera: tuple[int, int] = (1280, 720)
    colour: Colour = "bgr"
    starts: int = STARTS
    seed: int = 0

    def __post_init__(self) -> None:
        for path in self.models:
            if not path.is_file():
                what = "it is a folder" if path.is_dir() else "there is no such file"
                msg = (
                    f"Cannot measure {str(path)!r}: {what}, expected a graph of 'snow-deploy "
                    "export' or an engine of 'snow-deploy build-engine'. Check the path."
                )
                raise BenchError(msg)
        name, count = Counter(path.name for path in self.models).most_common(1)[0]
        if count > 1:
            same = " and ".join(repr(str(path)) for path in self.models if path.name == name)
            msg = (
                f"{count} contenders are called {name!r}: {same}, expected file names that tell "
                "them apart. Rename or link one of them."
            )
            raise BenchError(msg)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        width, height = self.camera
        return {
            "batch": self.batch,
            "threads": self.threads,
            "duration_s": self.duration_s,
            "camera": {"width": width, "height": height, "colour": self.colour},
            "starts": self.starts,
            "seed": self.seed,
        }

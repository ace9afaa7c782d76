"""What a check found, and what it looks at: a machine that tests can make up."""

from __future__ import annotations

import ctypes
import importlib
import importlib.metadata
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Callable

Level = Literal["ok", "absent", "problem"]
Need = Literal["cpu", "cuda", "tensorrt", "tensorrt-rtx", "opencv", "gstreamer", "video", "camera"]

NEEDS: Final[tuple[Need, ...]] = (
    "cpu",
    "cuda",
    "tensorrt",
    "tensorrt-rtx",
    "opencv",
    "gstreamer",
    "video",
    "camera",
)
"""What a user may ask for."""


@dataclass(frozen=True)
class Finding:
    """One thing that is there, is not, or is there and does not work.

    Attributes:
        topic: What was looked at.
        level: `ok`; `absent` of what nobody needs to have; `problem` of what is broken.
        seen: What was found.
        fix: What to do about it; empty where nothing is to be done.
        serves: What a user may ask for that stands or falls with this.
    """

    topic: str
    level: Level
    seen: str
    fix: str = ""
    serves: tuple[Need, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)


def _versions() -> dict[str, str]:
    """Return the installed distributions' versions, by normalised name."""
    found = {}
    for item in importlib.metadata.distributions():
        name = item.metadata["Name"]
        if name:
            found[name.lower().replace("_", "-")] = item.version
    return found


@dataclass(frozen=True)
class Machine:
    """How checks look at the machine.

    Attributes:
        root: Folder that `/etc`, `/dev` and `/proc` are taken from.
        versions: Function that gives the installed distributions by normalised name.
        load: Function that imports a module; raises what importing raises.
        library: Function that opens a shared library; raises OSError where there is none.
    """

    root: Path = Path("/")
    versions: Callable[[], dict[str, str]] = _versions
    load: Callable[[str], Any] = importlib.import_module
    library: Callable[[str], Any] = field(default=ctypes.CDLL)

    def text(self, path: str) -> str | None:
        """Return what a file under `root` says, or None where it cannot be read."""
        try:
            content = (self.root / path).read_bytes()
        except OSError:
            return None
        return content.decode("utf-8", "replace").strip("\0\n ")

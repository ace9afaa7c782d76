"""Which Jetson this is, and which TensorRT its JetPack brings."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

# L4T's major release and least revision -> JetPack, the TensorRT that comes with it, and whether
# engines can be built with that (NVIDIA's JetPack archive).
_JETPACKS: Final = (
    (39, 0, "7.2 or later", "10.16 or later", True),
    (38, 0, "7", "10.13 or later", True),
    (36, 4, "6.1 or later", "10.3", True),
    (36, 0, "6.0", "8.6", False),
    (35, 0, "5", "8.5", False),
)


@dataclass(frozen=True)
class Jetson:
    """A Jetson's release.

    Attributes:
        model: What the device tree calls the board; empty where it does not say.
        l4t: Version of the root file system, such as `36.4`; None where it is not one that is
            known.
        jetpack: The JetPack that it belongs to, such as `6.1 or later`.
        tensorrt: The TensorRT that comes with it.
        supported: Whether that TensorRT builds strongly typed engines.
    """

    model: str
    l4t: str | None = None
    jetpack: str | None = None
    tensorrt: str | None = None
    supported: bool = False


def find_jetson(root: Path = Path("/")) -> Jetson | None:
    """Return what Jetson this is, or None on any other machine.

    Args:
        root: The folder that `/etc` and `/proc` are taken from.
    """
    model = _text(root / "proc/device-tree/model") or ""
    release = _text(root / "etc/nv_tegra_release")
    if release is None:
        return Jetson(model) if "jetson" in model.lower() else None
    found = re.search(r"R(\d+).*?REVISION: *(\d+)", release)
    major, revision = (int(found[1]), int(found[2])) if found else (0, 0)
    for least_major, least, jetpack, tensorrt, supported in _JETPACKS:
        if major == least_major and revision >= least:
            return Jetson(model, f"{major}.{revision}", jetpack, tensorrt, supported)
    if major > _JETPACKS[0][0]:  # newer than this table: TensorRT will tell
        return Jetson(model, f"{major}.{revision}", "newer than 7.2", "of its own", supported=True)
    return Jetson(model, f"{major}.{revision}" if found else None)


def _text(path: Path) -> str | None:
    try:
        return path.read_bytes().decode("utf-8", "replace").strip("\0\n ")
    except OSError:
        return None

"""How much memory a build may use, and whether there is enough for one."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from snow_runtime.machine.driver import Gpu

MIB: Final = 1 << 20
LITTLE_BYTES: Final = 2048 * MIB
"""Below this much free memory and swap a build is warned about. TensorRT-RTX took 0.5 to 0.75 GB
for two tasks on a ResNet-50; TensorRT, which also times kernels on the GPU, takes more."""


LEAST_WORKSPACE_BYTES: Final = 64 * MIB
"""With less than this TensorRT finds no kernels at all."""


@dataclass(frozen=True)
class BuildMemory:
    """The machine's memory, in bytes.

    Attributes:
        available_bytes: What programs can still get without swapping, within a container's limit.
        swap_free_bytes: Free swap.
    """

    available_bytes: int
    swap_free_bytes: int


def read_build_memory(root: Path = Path("/")) -> BuildMemory | None:
    """Ask Linux; None on another system.

    Args:
        root: The folder that `/proc` and `/sys` are taken from.
    """
    try:
        text = (root / "proc/meminfo").read_text(encoding="ascii")
    except (OSError, ValueError):
        return None
    kib = {
        name: int(value) for name, value in re.findall(r"^(\w+): +(\d+) kB$", text, re.MULTILINE)
    }
    if "MemAvailable" not in kib:
        return None
    available = kib["MemAvailable"] * 1024
    limit, used = (_number(root / f"sys/fs/cgroup/memory.{it}") for it in ("max", "current"))
    if limit is not None and used is not None:
        available = min(available, max(0, limit - used + _reclaimable(root)))
    return BuildMemory(available, kib.get("SwapFree", 0) * 1024)


def workspace(
    asked_bytes: int | None, gpu: Gpu | None, memory: BuildMemory | None
) -> tuple[int | None, list[str]]:
    """Choose how much memory a layer may use, and say what is noteworthy about memory.

    On a GPU of its own memory that is the limit. An integrated one shares the machine's, which the
    weights and the build itself need as well: half of what is free now.

    Args:
        asked_bytes: What the user wants; None for as much as there is.
        gpu: The one that the engine is built on; None where there is none.
        memory: The machine's.

    Returns:
        The bytes, None for TensorRT's own choice, and notices in sentences.
    """
    notices = []
    if memory is not None and memory.available_bytes + memory.swap_free_bytes < LITTLE_BYTES:
        notices.append(
            f"Only {_mib(memory.available_bytes)} of memory and {_mib(memory.swap_free_bytes)} of "
            "swap are free: the system may kill the build. Close other programs (on Jetson also "
            "the desktop: sudo init 3), or add swap."
        )
    elif memory is not None and memory.available_bytes < LITTLE_BYTES:
        notices.append(
            f"Only {_mib(memory.available_bytes)} of memory are free: the build will swap, and "
            "take long."
        )
    limit = None
    if gpu is not None and gpu.integrated and memory is not None:
        limit = max(memory.available_bytes // 2, LEAST_WORKSPACE_BYTES)
    elif gpu is not None and gpu.memory_bytes:
        limit = gpu.memory_bytes
    if asked_bytes is not None and limit is not None and asked_bytes > limit:
        notices.append(
            f"--workspace {asked_bytes // MIB} is more than there is: {_mib(limit)} are used."
        )
        return limit, notices
    if asked_bytes is None and gpu is not None and gpu.integrated:
        return limit, notices
    return asked_bytes, notices


def _reclaimable(root: Path) -> int:
    """Give the bytes of a container's file cache that the system takes back when needed."""
    try:
        text = (root / "sys/fs/cgroup/memory.stat").read_text(encoding="ascii")
    except (OSError, ValueError):
        return 0
    found = re.search(r"^inactive_file (\d+)$", text, re.MULTILINE)
    return int(found[1]) if found else 0


def _mib(count: int) -> str:
    return f"{count // MIB} MiB"


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):  # "max" where there is no limit
        return None

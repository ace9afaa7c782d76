"""What the kernel says of the processor, in `/proc/cpuinfo`."""

from __future__ import annotations

import re
from pathlib import Path


def cpu_model(root: Path = Path("/")) -> str | None:
    """Return what the processor calls itself; None where the kernel does not say, as on Arm."""
    found = re.search(r"^model name\s*: *(\S.*)$", _cpuinfo(root), flags=re.MULTILINE)
    return found[1].strip() if found else None


def cpu_clocks_mhz(root: Path = Path("/")) -> list[float]:
    """Return each core's clock; nothing where the kernel does not say."""
    listed = re.findall(r"^cpu MHz\s*: *([\d.]+)$", _cpuinfo(root), flags=re.MULTILINE)
    return [float(clock) for clock in listed]


def _cpuinfo(root: Path) -> str:
    try:
        return (root / "proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""

"""What a process holds in memory, as Linux counts it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final, NamedTuple

_STATUS: Final = Path("/proc/self/status")


class ProcessMemory(NamedTuple):
    """Resident memory of this process; None where the system does not tell.

    Attributes:
        now_bytes: Resident memory at this moment.
        peak_bytes: The most since the process began.
    """

    now_bytes: int | None
    peak_bytes: int | None


def read_process_memory(status: Path = _STATUS) -> ProcessMemory:
    """Read what this process holds.

    `getrusage` is no way to the peak: on Linux a process inherits its parent's there.
    """
    try:
        text = status.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ProcessMemory(None, None)
    return ProcessMemory(_bytes(text, "VmRSS"), _bytes(text, "VmHWM"))


def _bytes(text: str, key: str) -> int | None:
    found = re.search(rf"^{key}:\s+(\d+) kB$", text, flags=re.MULTILINE)
    return 1024 * int(found[1]) if found else None

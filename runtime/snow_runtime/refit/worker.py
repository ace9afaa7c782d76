"""The process that fits: the least urgent one of the box, with bounded memory.

It ends with who began it, however that ended: its standard input is a pipe which then closes.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from pathlib import Path
from typing import Final

from snow_runtime.errors import SnowError
from snow_runtime.refit.job import FAILED, FitJob, write_json

_NICE: Final = 19
ONE_THREAD: Final = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS"), "1"
)
"""What the process is begun with: its libraries have one thread."""
STARVED: Final = "memory"


def main(folder: str) -> int:
    """Fit the job of a folder; return the exit code."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with contextlib.suppress(AttributeError, OSError):  # no Unix; not allowed
        os.nice(_NICE)
    return work(Path(folder))


def work(folder: Path) -> int:
    """Fit within the job's bounds; what goes wrong is written down. Return the exit code."""
    from snow_runtime.readout.threads import only_one_at_a_time
    from snow_runtime.refit.work import do_fit

    try:
        _bound_memory(FitJob.read(folder).memory_bytes)
        with only_one_at_a_time():
            do_fit(folder)
    except MemoryError:
        write_json(folder / FAILED, {"error": "", "why": STARVED})
        return 1
    except (SnowError, OSError, ValueError) as error:
        write_json(folder / FAILED, {"error": str(error), "why": type(error).__name__})
        return 1
    return 0


def _bound_memory(size_bytes: int) -> None:
    """Refuse this process more memory of its own than so many bytes, where the system can."""
    if not size_bytes or sys.platform == "win32":
        return
    import resource

    import scipy.linalg
    import scipy.optimize  # noqa: F401 - what is loaded before counts too, but cannot fail halfway

    with contextlib.suppress(ValueError, OSError):  # a lower hard limit is there already
        resource.setrlimit(resource.RLIMIT_DATA, (size_bytes, size_bytes))


def _end_with_parent() -> None:
    """Wait for the end of the pipe, and end at once: what is half-written is swept away later."""
    with contextlib.suppress(OSError, ValueError):
        while os.read(0, 1):
            pass
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))

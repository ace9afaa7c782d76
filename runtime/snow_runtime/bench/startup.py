"""How long a contender takes to start, and what it holds: each start in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict, dataclass
from statistics import median
from typing import TYPE_CHECKING, Any, Final

from snow_runtime import errors
from snow_runtime.bench.errors import BenchError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from snow_runtime.bench.options import BenchOptions

_CHUNK_BYTES: Final = 1 << 20
_TIMEOUT_S: Final = 600.0
"""A large graph on a small device takes minutes; an engine's kernels may have to be compiled."""
# Not -m: modules would then be looked for in the folder that the command is called in, first of
# all, and there lie the user's files.
_PROBE: Final = (
    "import sys; sys.path[:] = sys.argv.pop(1).split(chr(10)); "
    "from snow_runtime.bench.probe import main; main()"
)


@dataclass(frozen=True)
class Start:
    """One start; bytes are resident memory, None where the system does not tell.

    Attributes:
        load_s: Seconds that loading took, the import of ONNX Runtime or TensorRT included.
        first_answer_s: Seconds of the first call.
        before_bytes: Resident memory before loading: Python, NumPy and a batch of frames.
        loaded_bytes: Resident memory after loading.
        peak_bytes: The most, until after three calls.
    """

    load_s: float
    first_answer_s: float
    before_bytes: int | None = None
    loaded_bytes: int | None = None
    peak_bytes: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)


def summarise_starts(starts: Sequence[Start]) -> dict[str, Any] | None:
    """Return the medians over all starts, as plain JSON values; None where there was none.

    `total_s` is loading and the first answer; `loaded_over_before_bytes` and
    `peak_over_before_bytes` are what memory the contender itself takes.
    """
    if not starts:
        return None

    def over_before(name: str) -> float | None:
        pairs = [(getattr(start, name), start.before_bytes) for start in starts]
        return _median([a - b if None not in (a, b) else None for a, b in pairs])

    return {
        "starts": len(starts),
        "load_s": median(start.load_s for start in starts),
        "first_answer_s": median(start.first_answer_s for start in starts),
        "total_s": median(start.load_s + start.first_answer_s for start in starts),
        "before_bytes": _median([start.before_bytes for start in starts]),
        "loaded_bytes": _median([start.loaded_bytes for start in starts]),
        "peak_bytes": _median([start.peak_bytes for start in starts]),
        "loaded_over_before_bytes": over_before("loaded_bytes"),
        "peak_over_before_bytes": over_before("peak_bytes"),
    }


def start_once(path: Path, options: BenchOptions) -> Start:
    """Start a contender in a fresh interpreter.

    Its file is read once before, so that all starts find it in the system's cache.

    Raises:
        BenchError: The process ended before it answered, or did not answer in ten minutes.
        SnowError: What the process raised.
    """
    with path.open("rb") as stream:
        while stream.read(_CHUNK_BYTES):
            pass
    form = json.dumps({**options.to_dict(), "model": str(path)})
    done = _run([sys.executable, "-c", _PROBE, "\n".join(sys.path), form], path.name)
    document = _answer(done.stdout)
    if done.returncode != 0 or document is None:
        last = (done.stderr.strip().splitlines() or ["it wrote nothing"])[-1]
        msg = (
            f"The process that starts {path.name} ended with code {done.returncode}, expected an "
            f"answer: {last}. A negative code is a signal; -9 is often too little memory."
        )
        raise BenchError(msg)
    if "error" in document:
        raise _as_raised(document["kind"])(document["error"])
    return Start(**document)


def _run(command: Sequence[str], name: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(  # noqa: S603 - our own module
            command,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=_TIMEOUT_S,
        )
    except subprocess.TimeoutExpired as error:
        msg = (
            f"The process that starts {name} gave no answer in {_TIMEOUT_S:g} s, expected it to "
            "load and to answer by then. It was ended; look whether the GPU or its driver hangs, "
            "with 'snow-deploy doctor'."
        )
        raise BenchError(msg) from error


def _answer(output: str) -> dict[str, Any] | None:
    """Find the document: libraries may have printed before it, and after it as they unload."""
    for line in reversed(output.splitlines()):
        if line.startswith("{"):
            try:
                document: dict[str, Any] = json.loads(line)
            except ValueError:
                continue
            return document
    return None


def _as_raised(kind: str) -> type[errors.SnowError]:
    found = getattr(errors, kind, BenchError)
    return found if isinstance(found, type) and issubclass(found, errors.SnowError) else BenchError


def _median(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return median(known) if len(known) == len(values) else None

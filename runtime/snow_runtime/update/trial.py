"""A release tried aside: built, loaded, checked and timed in a process of its own.

What a release may do wrong, a crash in a library included, ends that process and nothing else.
"""

from __future__ import annotations

import json
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

from snow_runtime.errors import SnowError
from snow_runtime.update.errors import NoSpaceError, RejectedError, UpdateError, is_full_disk
from snow_runtime.update.processes import FROM_OUTSIDE, ends_with_parent
from snow_runtime.update.release import RECORD, Release, read_document

if TYPE_CHECKING:
    from collections.abc import Callable

    from snow_runtime.model import Model

_CALLS: Final = 9
_LOADING_S: Final = 600.0
_BUILDING_S: Final = 7200.0
_TOLD: Final = 400  # letters of a reason
_POLL_S: Final = 0.5


@dataclass(frozen=True)
class MeasuredRelease:
    """What a trial found.

    Attributes:
        latency_ms: Median time of an answer about one picture, in milliseconds.
    """

    latency_ms: float


def try_release(
    folder: Path, release: Release, go_on: Callable[[], None] = lambda: None
) -> MeasuredRelease:
    """Try a release in a process of its own, and hold it to its budget.

    Args:
        folder: Folder of its files.
        release: What they are.
        go_on: Function that is called again and again meanwhile; what it raises ends the trial.

    Raises:
        RejectedError: It fails, crashes, takes for ever, or is slower than its budget.
        NoSpaceError: The disk has no room for its engine.
        UpdateError: Somebody ended the process.
    """
    limit_s = _LOADING_S if release.engine is None else _BUILDING_S
    with tempfile.TemporaryFile() as said, tempfile.TemporaryFile() as complaints:
        code = _run(folder, limit_s, (said, complaints), go_on)
        lines, last = _lines(said), (_lines(complaints) or ["nothing was said"])[-1]
    if code is None:
        msg = f"The release {release.name} was tried for {limit_s:g} s without an end."
        raise RejectedError(msg)
    if -code in FROM_OUTSIDE:  # a machine that goes down ends all of its processes
        how = signal.Signals(-code).name
        msg = f"The trial of the release {release.name} was ended by {how}. It is tried again."
        raise UpdateError(msg)
    try:
        told = json.loads(lines[-1])
        failed, latency_ms = told.get("error"), float(told.get("latency_ms", 0))
        full = bool(told.get("full"))
    except (IndexError, ValueError, AttributeError):
        failed = f"the process ended with {code}: {last[:_TOLD]}"
        latency_ms, full = 0.0, False
    if failed is not None:
        kind = NoSpaceError if full else RejectedError
        msg = f"The release {release.name} does not work here: {failed}"
        raise kind(msg)
    check_budget(release, latency_ms)
    return MeasuredRelease(latency_ms)


def _run(
    folder: Path, limit_s: float, outputs: tuple[IO[bytes], IO[bytes]], go_on: Callable[[], None]
) -> int | None:
    """Run this module for a release; return how it ended, and None where it did not in time."""
    # Python looks for modules where a process begins, so it begins where nobody has put any.
    with tempfile.TemporaryDirectory(prefix="snow-trial-") as empty:
        process = subprocess.Popen(  # noqa: S603 - this module, by this interpreter
            [sys.executable, "-m", "snow_runtime.update.trial", str(folder.resolve())],
            stdin=subprocess.DEVNULL,
            stdout=outputs[0],
            stderr=outputs[1],
            cwd=empty,
            start_new_session=True,  # Ctrl-C is for us, not for it
            preexec_fn=ends_with_parent(signal.SIGKILL),  # noqa: PLW1509 - it takes no lock
        )
        try:
            end = time.monotonic() + limit_s
            while process.poll() is None and time.monotonic() < end:
                with suppress(subprocess.TimeoutExpired):
                    process.wait(_POLL_S)
                go_on()
            return process.poll()
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()


def _lines(stream: IO[bytes]) -> list[str]:
    stream.seek(0)
    return stream.read().decode(errors="replace").strip().splitlines()


def check_budget(release: Release, latency_ms: float) -> None:
    """Hold a time to a release's budget.

    Raises:
        RejectedError: It is longer.
    """
    if release.budget_ms is not None and latency_ms > release.budget_ms:
        msg = (
            f"The release {release.name} is too slow here: an answer took {latency_ms:.1f} ms, "
            f"expected {release.budget_ms:g} ms or less. Publish a lighter one, or a larger budget."
        )
        raise RejectedError(msg)


def measure_release(folder: Path, release: Release) -> float:
    """Build, load, check and time a release in this process.

    Returns:
        Median time of an answer about one picture, in milliseconds.

    Raises:
        SnowError: Something of it fails.
    """
    from snow_runtime.model import load
    from snow_runtime.self_check import check_picture

    path = folder / release.model
    if release.engine is not None:
        path = _engine(path, release)
    # An engine of the release before last may be one of a TensorRT that was here then.
    with load(path, rebuild="never" if release.engine is None else "auto") as model:
        model.warmup()
        model.self_check()
        for readout in release.readouts:
            model.add_readout(folder / readout)
        return _median_ms(model, check_picture(model.manifest.preprocessing.image_size))


def _median_ms(model: Model, picture: object) -> float:
    times = []
    for _ in range(_CALLS):
        start = time.perf_counter()
        model(picture)  # type: ignore[arg-type]
        times.append((time.perf_counter() - start) * 1000)
    return statistics.median(times)


def _engine(graph: Path, release: Release) -> Path:
    """Build the engine of a graph beside it, or take the one that is there."""
    from snow_runtime.engine.cache import EngineCache, default_folder
    from snow_runtime.engine.make import build_engine
    from snow_runtime.engine.options import BuildOptions

    path = graph.with_suffix(".engine")
    if not path.exists():
        folder = default_folder()
        cache = None if folder is None else EngineCache(folder / "engines", 1 << 31)
        build_engine(graph, path, BuildOptions(precision=release.engine), cache=cache)
    return path


def main(folder: Path) -> None:
    """Try the release in a folder, and print what was found as a line of JSON."""
    release = read_document(Release, (folder / RECORD).read_bytes(), "release")
    try:
        found: dict[str, object] = {"latency_ms": measure_release(folder, release)}
    except (SnowError, OSError) as error:
        found = {"error": str(error), "full": is_full_disk(error)}
    print(json.dumps(found), flush=True)  # noqa: T201 - to the process that began this one


if __name__ == "__main__":
    main(Path(sys.argv[1]))

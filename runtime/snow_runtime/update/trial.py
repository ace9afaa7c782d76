"""A release tried aside: built, loaded, checked and timed in a process of its own.

What a release may do wrong, a crash in a library included, ends that process and nothing else.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from snow_runtime.errors import SnowError
from snow_runtime.update.errors import RejectedError
from snow_runtime.update.release import RECORD, Release, read_document

if TYPE_CHECKING:
    from snow_runtime.model import Model

_CALLS: Final = 9
_LOADING_S: Final = 600.0
_BUILDING_S: Final = 7200.0
_TOLD: Final = 400  # letters of a reason


@dataclass(frozen=True)
class MeasuredRelease:
    """What a trial found.

    Attributes:
        latency_ms: Median time of an answer about one picture, in milliseconds.
    """

    latency_ms: float


def try_release(folder: Path, release: Release) -> MeasuredRelease:
    """Try a release in a process of its own, and hold it to its budget.

    Args:
        folder: Folder of its files.
        release: What they are.

    Raises:
        RejectedError: It fails, crashes, takes for ever, or is slower than its budget.
    """
    command = [sys.executable, "-m", "snow_runtime.update.trial", str(folder)]
    limit_s = _LOADING_S if release.engine is None else _BUILDING_S
    try:
        done = subprocess.run(  # noqa: S603 - this module, by this interpreter
            command, capture_output=True, text=True, check=False, timeout=limit_s
        )
    except subprocess.TimeoutExpired as error:
        msg = f"The release {release.name} was tried for {limit_s:g} s without an end."
        raise RejectedError(msg) from error
    lines = done.stdout.strip().splitlines()
    try:
        told = json.loads(lines[-1])
        failed, latency_ms = told.get("error"), float(told.get("latency_ms", 0))
    except (IndexError, ValueError, AttributeError):
        last = (done.stderr.strip().splitlines() or ["nothing was said"])[-1]
        failed = f"the process ended with {done.returncode}: {last[:_TOLD]}"
        latency_ms = 0.0
    if failed is not None:
        msg = f"The release {release.name} does not work here: {failed}"
        raise RejectedError(msg)
    check_budget(release, latency_ms)
    return MeasuredRelease(latency_ms)


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
    with load(path) as model:
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
    except SnowError as error:
        found = {"error": str(error)}
    print(json.dumps(found), flush=True)  # noqa: T201 - to the process that began this one


if __name__ == "__main__":
    main(Path(sys.argv[1]))

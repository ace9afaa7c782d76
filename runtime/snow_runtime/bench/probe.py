"""One start of a contender, in a process that does nothing else: run by `startup`.

Prints one line of JSON. Nothing is imported here before it is measured but what every use of the
runtime imports anyway.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

from snow_runtime.bench.contender import Contender, Frames
from snow_runtime.bench.options import BenchOptions
from snow_runtime.bench.process_memory import read_process_memory
from snow_runtime.errors import SnowError


def main() -> None:
    """Start the contender that the first argument describes, and print what that took."""
    try:
        document = measure_start(_options(json.loads(sys.argv[1])))
    except SnowError as error:
        document = {"error": str(error), "kind": type(error).__name__}
    sys.stdout.write(f"\n{json.dumps(document)}\n")


def measure_start(options: BenchOptions) -> dict[str, Any]:
    """Load the only contender of `options` and let it answer three times.

    Returns:
        `load_s` and `first_answer_s`, seconds; `before_bytes`, `loaded_bytes` and `peak_bytes`,
        this process's resident memory before loading, after it, and at its highest.

    Raises:
        SnowError: It cannot be loaded, or cannot take such a batch.
    """
    frames = Frames(options, spare=0)
    before = read_process_memory()
    began_s = time.perf_counter()
    contender = Contender(options.models[0], options)
    loaded_s = time.perf_counter()
    loaded = read_process_memory()
    answered_s = time.perf_counter()
    contender.call(frames.take())
    first_answer_s = time.perf_counter() - answered_s
    for _ in range(2):
        contender.call(frames.take())
    peak = read_process_memory()
    contender.close()
    return {
        "load_s": loaded_s - began_s,
        "first_answer_s": first_answer_s,
        "before_bytes": before.now_bytes,
        "loaded_bytes": loaded.now_bytes,
        "peak_bytes": peak.peak_bytes,
    }


def _options(form: dict[str, Any]) -> BenchOptions:
    return BenchOptions(
        models=(Path(form["model"]),),
        batch=form["batch"],
        threads=form["threads"],
        camera=(form["camera"]["width"], form["camera"]["height"]),
        colour=form["camera"]["colour"],
        seed=form["seed"],
    )

"""The peak memory of a training step on the CPU, in a process that does nothing else.

`python -m snow_deploy.paper.measure.peak_memory` reads a step's setup as JSON and prints the bytes.
"""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
from pathlib import Path

import torch

from snow_deploy.allocator import give_back_freed_memory, keep_freed_memory
from snow_deploy.errors import TrainingError
from snow_deploy.paper.measure.step import WARM_UP, StepSetup, TrainingStep
from snow_runtime.bench.process_memory import read_process_memory

_RESET = Path("/proc/self/clear_refs")
_FORGET_PEAK = "5"  # proc(5): VmHWM begins again at what is resident now


def peak_bytes(setup: StepSetup) -> int | None:
    """Return the peak memory of a step on the CPU; None where the system doesn't tell.

    Raises:
        TrainingError: The other process failed, for want of memory as a rule.
    """
    if not os.access(_RESET, os.W_OK):
        return None
    done = subprocess.run(
        [sys.executable, "-m", "snow_deploy.paper.measure.peak_memory"],
        input=json.dumps(setup.to_dict()),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        why = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        msg = (
            f"the memory of a step of {setup.options.scheme} could not be measured ({why}). Give a "
            "smaller --batch-size, or one for the scheme alone: --batch SCHEME=N."
        )
        raise TrainingError(msg)
    return int(done.stdout)


def measure_here(setup: StepSetup) -> int:
    """Return the size of the networks and the most that steps add to them, in bytes.

    As `torch.cuda.max_memory_allocated` counts it on a GPU: weights, gradients, the optimiser's
    state, activations, and the batch.
    """
    step = TrainingStep(setup, torch.device("cpu"))
    batch = step.images.numel() * step.images.element_size()
    gc.collect()
    give_back_freed_memory()  # a step would take unnoticed what building the networks left
    _RESET.write_text(_FORGET_PEAK, encoding="ascii")
    before = read_process_memory().now_bytes or 0
    for _ in range(WARM_UP):
        step()
    after = read_process_memory().peak_bytes or 0
    return step.held_bytes() + batch + max(0, after - before)


if __name__ == "__main__":
    keep_freed_memory()  # as the commands do
    print(measure_here(StepSetup.from_dict(json.load(sys.stdin))))  # noqa: T201

"""The peak memory of a training step on the CPU, in a process that does nothing else.

`python -m snow_deploy.paper.measure.peak_memory` reads a step's setup as JSON and prints the bytes.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch.profiler import ProfilerActivity, profile

from snow_deploy.errors import TrainingError
from snow_deploy.paper.measure.step import WARM_UP, StepSetup, TrainingStep

if TYPE_CHECKING:
    from collections.abc import Callable


def peak_bytes(setup: StepSetup) -> int:
    """Return the peak memory of a step on the CPU.

    Raises:
        TrainingError: The other process failed, for want of memory as a rule.
    """
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
    state, activations, and the batch. What the heap keeps beyond the tensors is not counted, nor
    what oneDNN takes for itself within a convolution.
    """
    step = TrainingStep(setup, torch.device("cpu"))
    batch = step.images.numel() * step.images.element_size()

    def steps() -> None:
        for _ in range(WARM_UP):
            step()

    return step.held_bytes() + batch + most_allocated(steps)


def most_allocated(run: Callable[[], None]) -> int:
    """Return the most bytes of tensors on the CPU that are there at once, of those made within.

    For the first call of a process: torch goes on counting what an earlier one has left.
    """
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        run()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        recorded.export_chrome_trace(str(path))
        events = json.loads(path.read_text(encoding="utf-8"))["traceEvents"]
    return max(
        (each["args"]["Total Allocated"] for each in events if each.get("name") == "[memory]"),
        default=0,
    )


if __name__ == "__main__":
    print(measure_here(StepSetup.from_dict(json.load(sys.stdin))))  # noqa: T201

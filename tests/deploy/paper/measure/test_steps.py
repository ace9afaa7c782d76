from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import torch

from snow_deploy.errors import TrainingError
from snow_deploy.models import onednn
from snow_deploy.paper.measure import peak_memory, steps
from snow_deploy.paper.measure.step import StepSetup, TrainingStep
from snow_deploy.paper.measure.steps import Effort, measure_steps
from snow_deploy.paper.measurement_cache import MeasurementCache
from snow_deploy.training.options import TrainOptions, recipe_for
from tests.deploy.paper.conftest import SMALL

if TYPE_CHECKING:
    from pathlib import Path

    from snow_deploy.models.network import Scheme

CPU = torch.device("cpu")


def setup(scheme: Scheme = "snow", batch: int = 2) -> StepSetup:
    options = TrainOptions(scheme=scheme, batch_size=batch, image_size=64, precision="fp32")
    return StepSetup(options, SMALL, 7, (3, 5))


def test_a_setup_survives_json() -> None:
    assert StepSetup.from_dict(setup("lf").to_dict()) == setup("lf")


@pytest.mark.parametrize("scheme", ["snow", "ft", "lf"])
def test_a_step_moves_the_task_alone(scheme: Scheme) -> None:
    step = TrainingStep(setup(scheme), CPU)
    before = [parameter.clone() for parameter in step.network.parameters()]

    step()

    after = list(step.network.parameters())
    assert not all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert (step.source is not None) == (scheme == "snow")
    held = 4 * step.network.count_parameters()
    if step.source is not None:  # oneDNN's packed weights are another copy of it
        copies = 2 if onednn.is_available() else 1
        held += copies * 4 * sum(parameter.numel() for parameter in step.source.parameters())
    assert step.held_bytes() >= held


def test_a_step_has_the_recipes_second_loss() -> None:
    plain, steady = setup(), setup()
    steady = replace(steady, options=replace(steady.options, recipe=recipe_for("steady", "snow")))

    assert TrainingStep(plain, CPU).network.local_loss == 0
    assert TrainingStep(steady, CPU).network.local_loss == 1


def test_learning_without_forgetting_asks_a_teacher() -> None:
    step = TrainingStep(setup("lf"), CPU)

    assert step.network.teacher is not None


def test_a_steps_peak_is_of_tensors_that_are_there_at_once() -> None:
    """By hand: four bytes a value; the first is gone when the third is made."""
    program = (
        "import torch\n"
        "from snow_deploy.paper.measure.peak_memory import most_allocated\n"
        "kept = torch.zeros(5000)  # before, so that it doesn't count\n"
        "def run():\n"
        "    first = torch.zeros(1000)\n"
        "    second = torch.zeros(2000)\n"
        "    del first\n"
        "    third = torch.zeros(4000)\n"
        "print(most_allocated(run))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) == 4 * (2000 + 4000)


def test_a_steps_peak_holds_weights_gradients_and_momentum() -> None:
    step = TrainingStep(setup("ft", batch=8), CPU)
    weights = sum(each.numel() * each.element_size() for each in step.network.parameters())

    small, large = (peak_memory.peak_bytes(setup("ft", batch=batch)) for batch in (2, 8))

    assert small > step.held_bytes() + 2 * weights
    assert large > small


def test_a_failed_process_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    done = subprocess.CompletedProcess([], -9, "", "MemoryError: so\n")
    monkeypatch.setattr("subprocess.run", lambda *_, **__: done)

    with pytest.raises(TrainingError, match=r"snow could not be measured \(MemoryError: so\)"):
        peak_memory.peak_bytes(setup())


def test_contenders_take_turns_and_the_least_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = iter([20.0, 8.0, 10.0, 40.0])  # snow, ft; then ft, snow
    monkeypatch.setattr(steps, "_time", lambda *_: next(times))
    monkeypatch.setattr(steps, "peak_bytes", lambda s: 100 * s.options.batch_size)
    lines: list[str] = []
    setups = {"snow": setup("snow", 4), "ft": setup("ft", 2)}

    found = measure_steps(setups, MeasurementCache(tmp_path), Effort(1, 2), lines.append)
    again = measure_steps(setups, MeasurementCache(tmp_path), Effort(1, 2), lines.append)

    assert found["snow"].images_per_s == pytest.approx(4 / 0.020)
    assert found["ft"].images_per_s == pytest.approx(2 / 0.008)
    assert (found["snow"].peak_bytes, found["ft"].peak_bytes) == (400, 200)
    assert again == found  # nothing is left to take times from
    assert [line.rsplit(" ", 1)[1] for line in lines if "round" in line][:4] == [
        "snow",
        "ft",
        "ft",
        "snow",
    ]


def test_a_batch_that_does_not_fit_a_gpu_is_halved(monkeypatch: pytest.MonkeyPatch) -> None:
    def allocate(wanted: StepSetup, _: torch.device) -> int:
        if wanted.options.batch_size > 16:
            raise torch.OutOfMemoryError
        return wanted.options.batch_size

    monkeypatch.setattr(steps, "_cuda_peak", allocate)
    gpu = torch.device("cuda")

    assert steps._fit(setup(batch=64), gpu) == {"batch": 16, "peak_bytes": 16}

    def never(*_: Any) -> int:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(steps, "_cuda_peak", never)
    with pytest.raises(TrainingError, match="not even at a batch of 8"):
        steps._fit(setup(batch=64), gpu)


def test_at_one_batch_all_have_the_largest_that_fits_every_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a GPU each is halved by itself, and a ratio of different batches is not one of equal."""
    largest = {"snow": 64, "ft": 16}
    monkeypatch.setattr(
        steps,
        "_fit",
        lambda s, _: {
            "batch": min(s.options.batch_size, largest[s.options.scheme]),
            "peak_bytes": 100 * min(s.options.batch_size, largest[s.options.scheme]),
        },
    )
    monkeypatch.setattr(steps, "_time", lambda *_: 1.0)
    setups = {"snow": setup("snow", 64), "ft": setup("ft", 64)}

    alike = measure_steps(setups, MeasurementCache(tmp_path), Effort(1, 1), print, alike=True)
    apart = measure_steps(setups, MeasurementCache(tmp_path), Effort(1, 1), print)

    assert {name: (each.batch, each.peak_bytes) for name, each in alike.items()} == {
        "snow": (16, 1600),
        "ft": (16, 1600),
    }
    assert {name: each.batch for name, each in apart.items()} == {"snow": 64, "ft": 16}


def test_other_options_are_measured_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[StepSetup] = []

    def note(wanted: StepSetup, *_: Any) -> float:
        calls.append(wanted)
        return 1.0

    monkeypatch.setattr(steps, "_time", note)
    monkeypatch.setattr(steps, "peak_bytes", lambda _: 1)
    first = setup()
    other = replace(first, classes=(3, 6))

    for wanted in (first, other, first):
        measure_steps({"snow": wanted}, MeasurementCache(tmp_path), Effort(1, 1), print)

    assert calls == [first, other]


def test_beside_others_a_contender_is_timed_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or a ratio would be of times from two days."""
    times = iter([10.0, 20.0, 40.0])
    monkeypatch.setattr(steps, "_time", lambda *_: next(times))
    monkeypatch.setattr(steps, "peak_bytes", lambda _: 1)
    alone, both = {"ft": setup("ft", 2)}, {"ft": setup("ft", 2), "snow": setup("snow", 2)}

    measure_steps(alone, MeasurementCache(tmp_path), Effort(1, 1), print)
    found = measure_steps(both, MeasurementCache(tmp_path), Effort(1, 1), print)

    assert found["ft"].images_per_s == pytest.approx(2 / 0.020)

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from snow_deploy.training.selections import SelectionHistory

if TYPE_CHECKING:
    from pathlib import Path

    from snow_deploy.models.source import Source
    from snow_deploy.training.store import Store


class Moving:
    """A delta whose selection is another each time it is asked."""

    def __init__(self) -> None:
        self.asked = 0

    def selections(self) -> dict[str, tuple[int, ...]]:
        self.asked += 1
        return {"layer1.conv": (0, self.asked), "layer2.conv": (self.asked,)}


def make(path: Path) -> SelectionHistory:
    learner: Any = SimpleNamespace(name="shape", network=Moving(), failure=None)
    return SelectionHistory(path / "s.npz", learner)


def run(history: SelectionHistory, steps: int, epochs: range, *, first: bool = True) -> None:
    trainer: Any = SimpleNamespace(current_epoch=0, num_training_batches=steps)
    trainer.is_global_zero = first
    module: Any = None
    history.on_train_start(trainer, module)
    for epoch in epochs:
        trainer.current_epoch = epoch
        for step in range(steps):
            history.on_train_batch_end(trainer, module, None, None, step)
        history.on_train_epoch_end(trainer, module)


@pytest.mark.parametrize(
    ("steps", "moments"),
    [
        (1, [0, 1, 2]),
        (4, [0, 0.25, 0.5, 0.75, 1, 1.25, 1.5, 1.75, 2]),
        (8, [0, 0.25, 0.5, 0.75, 1, 1.25, 1.5, 1.75, 2]),
        (7, [0, *(step / 7 for step in (2, 4, 6, 7, 9, 11, 13, 14))]),
        (25, [0, *(step / 25 for step in (7, 13, 19, 25, 32, 38, 44, 50))]),
    ],
)
def test_the_start_and_every_quarter_of_an_epoch(
    tmp_path: Path, steps: int, moments: list[float]
) -> None:
    run(make(tmp_path), steps, range(2))

    with np.load(tmp_path / "s.npz") as file:
        found = dict(file)

    assert found["epoch"].tolist() == pytest.approx(moments)
    assert found["epoch"].dtype == np.float64
    assert set(found) == {"epoch", "layer1.conv", "layer2.conv"}
    assert found["layer1.conv"].dtype == np.int32
    assert found["layer1.conv"].tolist() == [[0, n + 1] for n in range(len(moments))]
    assert found["layer2.conv"].shape == (len(moments), 1)


def test_a_resumed_run_goes_on(tmp_path: Path) -> None:
    first = make(tmp_path)
    run(first, 4, range(1))
    resumed = make(tmp_path)
    resumed.load_state_dict(first.state_dict())

    run(resumed, 4, range(1, 2))

    assert resumed.history()["epoch"].tolist() == np.linspace(0, 2, 9).tolist()


def test_only_the_first_process_writes(tmp_path: Path) -> None:
    run(make(tmp_path), 4, range(1), first=False)

    assert list(tmp_path.iterdir()) == []


def test_nothing_recorded_yet(tmp_path: Path) -> None:
    assert make(tmp_path).history()["epoch"].shape == (0,)


def test_the_history_of_a_run(trained_store: Store, source: Source) -> None:
    with np.load(trained_store.run_path("shape") / "selections.npz") as file:
        found = dict(file)

    moments = found.pop("epoch")
    assert moments.tolist() == pytest.approx([0, 1 / 3, 2 / 3, 1, 4 / 3, 5 / 3, 2])
    last = trained_store.load_task("shape").build(source).selections()
    assert set(found) == set(last)
    for item in source.anatomy.subscriptions:
        history, k = found[item.name], item.channels // 8
        assert history.shape == (7, k)
        assert history[0].tolist() == list(range(k))  # all weights are one at the start
        assert history[-1].tolist() == list(last[item.name])
        assert (np.diff(history, axis=1) > 0).all()
        assert 0 <= history.min() <= history.max() < item.channels
    assert any((history[0] != history[-1]).any() for history in found.values())

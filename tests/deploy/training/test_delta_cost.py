"""What a delta is said to cost: what it costs when it is there."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import torch

from snow_deploy.data import open_data
from snow_deploy.models.source import Source
from snow_deploy.stages.count_store import Counter
from snow_deploy.training.delta_cost import compare_costs
from tests.deploy.bright_pictures import open_bright

if TYPE_CHECKING:
    from pathlib import Path

    from snow_deploy.training.options import TrainOptions
    from snow_deploy.training.store import Store


@pytest.mark.slow
def test_it_is_that_of_the_stored_delta(
    trained_store: Store, short: TrainOptions, tmp_path: Path
) -> None:
    record, weights = trained_store.load_task("shape"), trained_store.source_weights()
    splits = open_data("demo:shape?train=12&test=6&size=64")
    state = torch.get_rng_state()

    found = compare_costs(weights, splits, short, 100)

    assert torch.equal(torch.get_rng_state(), state)
    counter = Counter(Source(weights))
    assert found.delta.parameters == record.metrics["parameters"]
    assert found.delta.share == pytest.approx(counter.task(record) / counter.source(64))
    assert found.readout.parameters == 6 * 100 + 6
    assert found.readout.share == pytest.approx(600 / counter.source(64))
    assert found.picture_s > 0
    several = compare_costs(
        weights, open_bright(tmp_path), replace(short, precision="bf16", image_size=32), 10
    )
    assert several.readout.parameters == 33

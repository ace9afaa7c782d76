from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from snow_deploy.paper.measure import serving
from snow_deploy.paper.measure.serving import build_server, measure_serving
from snow_deploy.paper.measure.step import StepSetup
from snow_deploy.paper.measurement_cache import MeasurementCache
from snow_deploy.training.options import TrainOptions
from tests.deploy.paper.conftest import SMALL

if TYPE_CHECKING:
    from pathlib import Path

    from snow_deploy.models.network import Scheme
    from snow_deploy.models.source import Source


def setup(scheme: Scheme) -> StepSetup:
    options = TrainOptions(scheme=scheme, image_size=64, precision="fp32")
    return StepSetup(options, SMALL, 7, (3, 5))


@pytest.mark.parametrize("scheme", ["snow", "fo", "ft", "lf"])
def test_a_server_answers_every_task(scheme: Scheme, small_source: Source) -> None:
    images = torch.randn(2, 3, 64, 64)

    with torch.no_grad():
        own, *others = build_server(setup(scheme))(images)

    assert own.shape == (2, 7)
    assert [tuple(answer.shape) for answer in others] == [(2, 3), (2, 5)]
    if scheme != "lf":  # whose head for the source's task is new
        torch.testing.assert_close(own, small_source(images)["logits"], rtol=1e-3, atol=1e-3)


def test_the_source_runs_once_for_all_but_separate_models() -> None:
    def stems(scheme: Scheme) -> int:
        server = build_server(setup(scheme))
        return sum(
            isinstance(layer, torch.nn.Conv2d)
            and layer.out_channels == 64
            and layer.in_channels == 3
            for layer in server.modules()
        )

    assert stems("ft") == 3
    assert stems("fo") == stems("lf") == 1


def test_pictures_a_second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([5.0, 4.0])
    monkeypatch.setattr(serving, "_time", lambda *_: next(times))
    setups = {"fo": setup("fo")}

    found = measure_serving(setups, 2, MeasurementCache(tmp_path), 2, print)

    assert found == {"fo": pytest.approx(500)}
    assert measure_serving(setups, 2, MeasurementCache(tmp_path), 2, print) == found

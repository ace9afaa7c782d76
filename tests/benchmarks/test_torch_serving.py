from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from benchmarks import _torch_serving as serving
from benchmarks._scenario import Fleet, Scenario

if TYPE_CHECKING:
    from collections.abc import Mapping

SIZE = 64
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA GPU here")


@pytest.fixture(scope="module")
def fleet() -> Fleet:
    return Fleet(Scenario("resnet18", SIZE, source_classes=7, task_classes=(5, 3)))


@pytest.fixture(scope="module")
def contenders(fleet: Fleet) -> Mapping[str, serving.Contender]:
    return serving.serving_contenders(fleet, 2, torch.device("cpu"), torch.float32)


def test_fused_and_separate_deltas_answer_alike(
    contenders: Mapping[str, serving.Contender],
) -> None:
    agreement = serving.fused_agreement(contenders, SIZE)
    assert agreement["finite"]
    assert agreement["largest_relative_error"] < 1e-4


def test_contenders_answer_the_same_tasks(contenders: Mapping[str, serving.Contender]) -> None:
    image = torch.randn(1, 3, SIZE, SIZE)
    with torch.no_grad():
        widths = {
            name: [answer.shape[1] for network in networks for answer in network(image)]
            for name, networks in contenders.items()
        }
    assert widths == {
        "source": [7],
        "shared_separate": [7, 5, 3],
        "shared_fused": [7, 5, 3],
        "separate_models": [7, 5, 3],
    }


def test_ratios() -> None:
    times = {"source": 2.0, "shared_separate": 6.0, "shared_fused": 3.0, "separate_models": 12.0}
    assert serving.ratios(times) == {
        "shared_over_source": 1.5,
        "separate_models_over_shared": 4.0,
        "fused_over_separate": 0.5,
    }


@pytest.mark.gpu
@needs_gpu
def test_on_a_gpu_fused_and_separate_deltas_answer_alike_in_half_precision(fleet: Fleet) -> None:
    contenders = serving.serving_contenders(fleet, 2, torch.device("cuda"), torch.float16)
    agreement = serving.fused_agreement(contenders, SIZE)
    assert agreement["finite"]
    assert agreement["largest_relative_error"] < 0.05


@pytest.mark.gpu
@needs_gpu
def test_on_a_gpu_every_contender_can_be_recorded_as_a_cuda_graph(fleet: Fleet) -> None:
    contenders = serving.serving_contenders(fleet, 2, torch.device("cuda"), torch.float16)
    rows = serving.measure_serving(contenders, SIZE, (1,), 1)
    assert [row["mode"] for row in rows] == ["graph", "eager"]

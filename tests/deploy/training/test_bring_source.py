from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import torch
from safetensors.torch import save_file

from snow_deploy.errors import SnowDeployError, SourceError, StoreError
from snow_deploy.models.options import DeltaOptions
from snow_deploy.models.weights import ReadOptions
from snow_deploy.training.bring_source import SourceChoice, bring_source
from snow_deploy.training.options import TrainOptions
from snow_deploy.training.store import Store

if TYPE_CHECKING:
    from pathlib import Path

    from snow_deploy.models.weights import SourceWeights
    from tests.conftest import RandomNetwork

OPTIONS = TrainOptions(image_size=64, epochs=1, batch_size=4)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


class SaveNetwork:
    """Saves one of torchvision's networks and chooses it."""

    def __init__(self, folder: Path, random_network: RandomNetwork) -> None:
        self.folder, self.random_network = folder, random_network

    def __call__(self, architecture: str, reading: ReadOptions | None = None) -> SourceChoice:
        path = self.folder / f"{architecture}.safetensors"
        save_file(self.random_network(architecture).state_dict(), path)
        return SourceChoice(architecture, str(path), reading or ReadOptions())


@pytest.fixture
def choose(tmp_path: Path, random_network: RandomNetwork) -> SaveNetwork:
    return SaveNetwork(tmp_path, random_network)


@pytest.mark.parametrize(
    ("architecture", "options", "message"),
    [
        pytest.param("vit_b_32", {}, "no dense convolution", marks=pytest.mark.slow),
        ("swin_t", {}, "a CNN"),
        ("alexnet", {"image_size": 32}, "cannot read pictures of 32 x 32 pixels"),
        ("squeezenet1_1", {"scheme": "fe"}, "stage"),
        ("squeezenet1_1", {"scheme": "mp"}, "norm"),
        ("squeezenet1_1", {"scheme": "lf", "after": "food"}, "has no task 'food'"),
    ],
)
def test_a_source_that_is_refused_leaves_the_store_as_it_was(
    store: Store, choose: SaveNetwork, architecture: str, options: dict[str, Any], message: str
) -> None:
    planned = [(OPTIONS, 3), (replace(OPTIONS, **options), 3)]

    with pytest.raises(SnowDeployError, match=message):
        bring_source(store, choose(architecture), planned)

    assert not store.root.exists()
    bring_source(store, choose("squeezenet1_1"), [(OPTIONS, 3)])  # the next one is taken
    assert store.source_weights().architecture == "squeezenet1_1"


def test_every_network_that_is_planned_is_built(store: Store, choose: SaveNetwork) -> None:
    wide = replace(OPTIONS, delta=DeltaOptions(width_divisor=8))

    bring_source(store, choose("squeezenet1_1"), [(OPTIONS, 3), (wide, 4), (wide, 4)])

    assert store.has_source()


def test_a_checkpoint_that_is_not_finite_is_not_stored(
    store: Store, random_network: RandomNetwork, tmp_path: Path
) -> None:
    state = dict(random_network("resnet18").state_dict())
    state["layer1.0.bn1.running_var"] = torch.full((64,), -1.0)
    torch.save({"model": state}, tmp_path / "bad.pth")

    with pytest.raises(SourceError, match=r"layer1\.0\.bn1\.running_var are below zero"):
        bring_source(store, SourceChoice("resnet18", str(tmp_path / "bad.pth")), [(OPTIONS, 3)])

    assert not store.root.exists()


def test_a_store_that_was_poisoned_is_told_of(store: Store, weights: SourceWeights) -> None:
    """What an earlier version let in is refused when it is read, by its key."""
    state = dict(weights.state)
    state["fc.bias"] = torch.full((7,), float("nan"))
    store.put_source(replace(weights, state=state))

    with pytest.raises(SourceError, match=r"source\.safetensors\) cannot be used: 7 of .*fc\.bias"):
        store.source_weights()


def test_another_source_for_a_store_without_tasks(store: Store, choose: SaveNetwork) -> None:
    bring_source(store, choose("squeezenet1_1"), [(OPTIONS, 3)])

    with pytest.raises(StoreError, match=r"No task needs the one that is here: .* may be deleted"):
        bring_source(store, choose("squeezenet1_0"), [(OPTIONS, 3)])


class TestStride:
    def test_it_can_be_given(self, store: Store, choose: SaveNetwork) -> None:
        told: list[str] = []
        choice = choose("resnet50", ReadOptions(stride_in_1x1=True))

        bring_source(store, choice, [], told.append)

        assert store.source_weights().stride_in_1x1
        assert not any("--stride-in-1x1" in line for line in told)
        bring_source(store, SourceChoice(reading=ReadOptions(stride_in_1x1=True)), [])

    def test_a_store_without_it_is_another_source(self, store: Store, choose: SaveNetwork) -> None:
        told: list[str] = []
        bring_source(store, choose("resnet50"), [], told.append)

        assert not store.source_weights().stride_in_1x1
        assert any("else give --stride-in-1x1" in line for line in told)
        stride = ReadOptions(stride_in_1x1=True)
        with pytest.raises(StoreError, match="was taken in without --stride-in-1x1"):
            bring_source(store, SourceChoice(reading=stride), [])
        with pytest.raises(StoreError, match="One store serves one source"):
            bring_source(store, choose("resnet50", stride), [])

    def test_a_network_without_bottlenecks_has_none(
        self, store: Store, choose: SaveNetwork
    ) -> None:
        with pytest.raises(SourceError, match="resnet18 has no bottleneck"):
            bring_source(store, choose("resnet18", ReadOptions(stride_in_1x1=True)), [(OPTIONS, 3)])
        assert not store.root.exists()


@pytest.mark.parametrize("reading", [ReadOptions(key="model_ema"), ReadOptions(stride_in_1x1=True)])
def test_what_is_for_files_alone(store: Store, reading: ReadOptions) -> None:
    with pytest.raises(SourceError, match="is for a file of weights"):
        bring_source(store, SourceChoice("resnet50", "imagenet", reading), [])

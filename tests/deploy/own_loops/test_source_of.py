"""Any network as a source, from Python: what it says of pictures, and what is refused."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import snow_deploy as snow
from snow_runtime.graph.onnx_file import read_graph
from tests.deploy.own_loops.networks import MEAN, SIZE, STD, Own, own_network


def test_a_source_answers_as_its_network_which_stays_as_it_was(own_source: snow.Source) -> None:
    network = own_network().train()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    source = snow.Source.of(network, image_size=SIZE, mean=MEAN, std=STD)
    images = torch.randn(2, 3, SIZE, SIZE)

    assert network.training
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())
    with torch.no_grad():
        torch.testing.assert_close(source(images)["logits"], network.eval()(images))
    assert source.fingerprint == own_source.fingerprint
    assert source.architecture == "Own"
    assert source.preprocessing.image_size == SIZE
    assert (source.preprocessing.mean, source.preprocessing.std) == (MEAN, STD)


def test_what_is_not_said_comes_from_the_networks_own_configuration(
    caplog: pytest.LogCaptureFixture,
) -> None:
    network = own_network()
    config = {"input_size": (3, 48, 48), "mean": MEAN, "std": STD, "crop_pct": 0.75}
    network.pretrained_cfg = {**config, "interpolation": "bicubic"}  # type: ignore[assignment]
    with caplog.at_level(logging.WARNING):
        source = snow.Source.of(network, std=[0.5, 0.5, 0.5], name="mine", labels="abcde")
    prepared = source.preprocessing

    assert (prepared.image_size, prepared.resize_size, prepared.mean) == (48, 64, MEAN)
    assert (prepared.std, prepared.interpolation) == ((0.5, 0.5, 0.5), "bicubic")
    assert source.architecture == "mine"
    assert source.weights.labels == tuple("abcde")
    assert not caplog.records


def test_pictures_that_are_no_square(tmp_path: Path) -> None:
    """A delta trains on them, a store takes it with their size, and the graph has it."""
    source = snow.Source.of(own_network(), image_size=(36, 64), crop_share=1)
    square = snow.Source.of(own_network(), image_size=[48, 48])  # type: ignore[arg-type]
    delta = snow.Delta(source, 2)
    images = torch.randn(3, 3, 36, 64)
    delta(images, source(images)).sum().backward()

    assert (source.preprocessing.image_size, source.preprocessing.resize_size) == ((36, 64),) * 2
    assert square.preprocessing.image_size == 48
    with torch.no_grad():
        torch.testing.assert_close(source(images)["logits"], own_network().eval()(images))
    store = snow.Store(tmp_path / "store")
    record = store.add("t", delta, labels=("x", "y"))
    snow.export(store, path=tmp_path / "g.onnx")
    assert record.samples.shape[1:] == (36, 64, 3)
    assert read_graph(tmp_path / "g.onnx").inputs[0].shape == (None, 3, 36, 64)


def test_pictures_become_what_the_mean_and_deviation_say(
    own_source: snow.Source, tmp_path: Path
) -> None:
    """As written out naively; and a transparent picture is laid on white, as on the device."""
    pixels = np.zeros((SIZE, SIZE, 4), np.uint8)
    pixels[..., :3], pixels[: SIZE // 2, :, 3] = (10, 20, 30), 255
    Image.fromarray(pixels).save(tmp_path / "a.png")
    plain = snow.make_transform(own_source.preprocessing, train=False, augmentation="none")
    dataset = snow.PictureDataset(snow.FilePictures((tmp_path / "a.png",), (1,), ("x", "y")), plain)
    image, target = dataset[0]

    assert (len(dataset), target, dataset.labels) == (1, 1, ("x", "y"))
    top = [
        (value / 255 - mean) / std for value, mean, std in zip((10, 20, 30), MEAN, STD, strict=True)
    ]
    white = [(1 - mean) / std for mean, std in zip(MEAN, STD, strict=True)]
    np.testing.assert_allclose(image[:, 4, 4], top, atol=1e-5)
    np.testing.assert_allclose(image[:, -4, 4], white, atol=1e-5)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"image_size": 7}, r"image_size=7 .*expected 32 or more"),
        ({"image_size": (32, 32, 3)}, r"image_size=\(32, 32, 3\)"),
        ({"image_size": (64, 64, 64)}, r"image_size=\(64, 64, 64\)"),
        ({"mean": (0.5, 0.5)}, r"mean=\(0.5, 0.5\) .*three numbers"),
        ({"std": (0.5, 0.5, 0)}, r"std=\(0.5, 0.5, 0\) .*above 0"),
        ({"std": "abc"}, r"std='abc'"),
        ({"crop_share": 1.5}, r"crop_share=1.5 .*up to 1"),
        ({"interpolation": "sinc"}, r"interpolation='sinc' .*bilinear"),
        ({"labels": ["a", "b"]}, r"2 labels were given for a source of 5 classes"),
    ],
)
def test_what_no_picture_can_have_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(snow.SourceError, match=message):
        snow.Source.of(own_network(), **given)


class Deciding(Own):
    def forward(self, images: Tensor) -> Tensor:
        if images.mean() > 0:
            images = -images
        return super().forward(images)


def test_a_network_that_cannot_be_traced_names_its_line() -> None:
    line = next(
        number
        for number, text in enumerate(Path(__file__).read_text("utf-8").splitlines(), 1)
        if "if images.mean()" in text
    )
    with pytest.raises(snow.SourceError, match=rf"Deciding cannot be traced.*:{line}"):
        snow.Source.of(Deciding(), image_size=SIZE)


def test_a_size_that_the_network_cannot_take_is_refused() -> None:
    class Flat(Own):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(32 * 8 * 8, 5)

        def forward(self, images: Tensor) -> Tensor:
            maps = nn.functional.relu(self.second(self.stem(images)))
            answers: Tensor = self.fc(torch.flatten(maps, 1))
            return answers

    assert snow.Source.of(Flat(), image_size=32).num_classes == 5
    with pytest.raises(
        snow.SourceError, match=r"Flat cannot read pictures of 64 x 64 pixels: .*8192"
    ):
        snow.Source.of(Flat(), image_size=64)


def test_features_of_another_source_are_refused(
    own_source: snow.Source, delta: snow.Delta, source: snow.Source
) -> None:
    images = torch.randn(2, 3, SIZE, SIZE)
    other = snow.Source.of(own_network(seed=1), image_size=SIZE, mean=MEAN, std=STD)
    for features, seen in (
        (other(images), f"of the source {other.fingerprint[:12]}"),
        (source(images), f"of the source {source.fingerprint[:12]}"),
        (dict(source(images)), "there is no 'first' among them"),
        ({**own_source(images), "second": torch.zeros(2, 99, 16, 16)}, "second has 99 channels"),
    ):
        with pytest.raises(snow.SourceError, match=seen):
            delta(images, features)
    assert delta(images, dict(own_source(images))).shape == (2, 3)
    assert delta(images, own_source.stream(images, delta.reads)).shape == (2, 3)


def test_torch_compile_takes_a_delta_and_its_features(
    own_source: snow.Source, delta: snow.Delta
) -> None:
    images = torch.randn(2, 3, SIZE, SIZE)
    compiled = torch.compile(delta.eval(), backend="eager")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own, of its own functions
        found = compiled(images, own_source(images))

    torch.testing.assert_close(found, delta(images, own_source(images)))

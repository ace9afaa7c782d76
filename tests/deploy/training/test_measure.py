from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch import nn

from snow_deploy.errors import DataError
from snow_deploy.training.answers import Answers, read_answers
from snow_deploy.training.measure import SAMPLES, held_out_samples, measure, measure_together
from snow_deploy.training.npz_file import read_npz
from snow_runtime.pictures.preprocessing import prepare, resize_and_crop

if TYPE_CHECKING:
    from pathlib import Path

    from snow_runtime.graph.manifest import Preprocessing
    from tests.deploy.training.conftest import Colours


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(1)
    layers = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.9), nn.Linear(3, 3))
    return nn.Sequential(*layers).train()


def by_hand(
    network: nn.Module, colours: Colours, preprocessing: Preprocessing
) -> tuple[float, float]:
    """Answer picture by picture, in NumPy: mean cross-entropy and accuracy."""
    linear = list(network.children())[-1]
    assert isinstance(linear, nn.Linear)
    weight, bias = (p.detach().double().numpy() for p in (linear.weight, linear.bias))
    losses, right = [], []
    for index in range(len(colours)):
        if index in colours.broken:
            continue
        image = prepare(colours.load(index), preprocessing).astype(np.float64)
        logits = weight @ image.mean((1, 2)) + bias
        shares = np.exp(logits) / np.exp(logits).sum()
        losses.append(-np.log(shares[colours.target(index)]))
        right.append(logits.argmax() == colours.target(index))
    return float(np.mean(losses)), float(np.mean(right))


@pytest.mark.parametrize("broken", [(), (0, 7, 22)])
def test_loss_and_accuracy(
    network: nn.Module, colours: Colours, preprocessing: Preprocessing, broken: tuple[int, ...]
) -> None:
    colours = replace(colours, broken=frozenset(broken))

    found, unreadable = measure(network, colours, preprocessing, workers=0)

    assert (found.loss, found.accuracy) == pytest.approx(
        by_hand(network, colours, preprocessing), rel=1e-5
    )
    assert unreadable == {f"colour {index}" for index in broken}
    assert not network.training


def test_more_pictures_than_a_batch(
    network: nn.Module, colours: Colours, preprocessing: Preprocessing
) -> None:
    """Batches of another size count by their pictures."""
    many = replace(colours, colours=np.tile(colours.colours, (4, 1)), targets=colours.targets * 4)
    many = replace(many, broken=frozenset({*range(64), 70}))  # a whole batch and one

    found, unreadable = measure(network, many, preprocessing, workers=0)

    assert (found.loss, found.accuracy) == pytest.approx(
        by_hand(network, many, preprocessing), rel=1e-5
    )
    assert len(unreadable) == 65


def test_the_five_likeliest_classes_count_too(
    colours: Colours, preprocessing: Preprocessing
) -> None:
    """Of 9 classes by logits that the picture's place decides, in NumPy."""
    wanted = np.random.default_rng(3).integers(0, 9, len(colours))
    logits = np.random.default_rng(4).normal(size=(len(colours), 9)).astype(np.float32)
    logits[5] = 0.0  # of equal ones the first classes are the likeliest
    labels = tuple("abcdefghi")
    nine = replace(colours, targets=tuple(wanted.tolist()), labels=labels, broken=frozenset({2}))

    def answer(images: torch.Tensor) -> list[torch.Tensor]:
        assert len(images) == len(colours) - 1
        return [torch.from_numpy(np.delete(logits, 2, axis=0))]

    (found,), _ = measure_together(answer, [nine], preprocessing, workers=0)

    ranked = np.argsort(-logits, axis=1, kind="stable")
    seen = [index for index in range(len(colours)) if index != 2]
    assert isinstance(found.answers, Answers)
    assert found.answers.index.tolist() == seen
    assert found.answers.target.tolist() == wanted[seen].tolist()
    assert found.answers.ranked.tolist() == ranked[seen, :5].tolist()
    top5 = [wanted[index] in ranked[index, :5] for index in seen]
    assert found.accuracy_top5 == np.mean(top5)
    assert found.accuracy == np.mean([wanted[index] == ranked[index, 0] for index in seen])


def test_answers_are_kept_and_read(tmp_path: Path) -> None:
    answers = Answers(np.array([0, 3]), np.array([1, 2]), np.array([[1, 0, 2], [0, 2, 1]]))

    answers.write(tmp_path / "runs" / "shape")

    found = read_answers(tmp_path / "runs" / "shape")
    assert found is not None
    assert found.right().tolist() == [True, False]
    assert found.right(2).tolist() == [True, True]
    assert read_answers(tmp_path) is None
    (tmp_path / "answers.npz").write_bytes(b"no archive")
    assert read_answers(tmp_path) is None


@pytest.mark.parametrize("name", ["answers.npz", "selections.npz"])
def test_a_damaged_archive_is_no_traceback(tmp_path: Path, name: str) -> None:
    """Bytes changed anywhere: zipfile, zlib, NumPy and Python's tokenizer raise their own."""
    rng = np.random.default_rng(0)
    target, ranked = rng.integers(0, 9, 200), rng.integers(0, 9, (200, 5))
    Answers(np.arange(200), target, ranked).write(tmp_path)
    whole, path = (tmp_path / "answers.npz").read_bytes(), tmp_path / name
    for _ in range(150):
        content = bytearray(whole)
        for place in rng.integers(0, len(content), 3):
            content[place] = rng.integers(0, 256)
        path.write_bytes(content)
        if name == "answers.npz":
            read_answers(tmp_path)
        else:
            with suppress(OSError, ValueError):
                read_npz(path)
    np.save((tmp_path / "one.npy"), np.zeros(3))
    (tmp_path / "answers.npz").write_bytes((tmp_path / "one.npy").read_bytes())
    assert read_answers(tmp_path) is None


@pytest.mark.parametrize(
    "arrays",
    [
        {"index": np.zeros(2), "target": np.zeros(2)},
        {"index": np.zeros(2), "target": np.zeros(2), "ranked": np.zeros((3, 5))},
        {"index": np.zeros(()), "target": np.zeros(()), "ranked": np.zeros(())},
        {"index": np.zeros((2, 1)), "target": np.zeros((2, 1)), "ranked": np.zeros((2, 5))},
    ],
)
def test_arrays_that_do_not_fit_each_other_are_no_answers(
    tmp_path: Path, arrays: dict[str, Any]
) -> None:
    np.savez(tmp_path / "answers.npz", **arrays)

    assert read_answers(tmp_path) is None


def test_damaged_answers_are_none(tmp_path: Path) -> None:
    """As a checksum tells, a stream that cannot be inflated, a header, or shapes that don't fit."""
    path = tmp_path / "answers.npz"
    classes = np.random.default_rng(0).integers(0, 10, (300, 5))
    Answers(np.arange(300), classes[:, 0], classes).write(tmp_path)
    whole = path.read_bytes()
    for place in range(0, len(whole), 7):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        found = read_answers(tmp_path)
        assert found is None or len(found.index) == 300
        path.write_bytes(whole[:place])
        assert read_answers(tmp_path) is None
    for wrong in (np.zeros((3, 2), int), np.zeros(3), np.zeros(0, int)):
        np.savez(path, index=wrong, target=wrong, ranked=np.zeros((len(wrong), 5), int))
        assert read_answers(tmp_path) is None


def test_no_picture_can_be_read(
    network: nn.Module, colours: Colours, preprocessing: Preprocessing
) -> None:
    colours = replace(colours, broken=frozenset(range(23)))

    message = "none of the 23 pictures to measure on could be read"
    with pytest.raises(DataError, match=message):
        measure(network, colours, preprocessing, workers=0)
    with pytest.raises(DataError, match=message):
        held_out_samples(colours, preprocessing)


def test_samples_are_spread_over_the_pictures(
    colours: Colours, preprocessing: Preprocessing
) -> None:
    samples = held_out_samples(colours, preprocessing)

    assert SAMPLES == 5
    assert samples.dtype == torch.uint8
    assert samples.shape == (5, 8, 8, 3)
    for sample, index in zip(samples, (0, 4, 9, 13, 18), strict=True):
        assert sample.tolist() == resize_and_crop(colours.load(index), preprocessing).tolist()


def test_samples_leave_out_what_cannot_be_read(
    colours: Colours, preprocessing: Preprocessing
) -> None:
    """The next one of the same stretch takes its place; a stretch without any has no sample."""
    colours = replace(colours, broken=frozenset({0, *range(9, 13)}))

    samples = held_out_samples(colours, preprocessing)

    assert samples[:, 0, 0].tolist() == colours.colours[[1, 4, 13, 18]].tolist()


def test_few_pictures_give_few_samples(colours: Colours, preprocessing: Preprocessing) -> None:
    few = replace(colours, colours=colours.colours[:2], targets=colours.targets[:2])

    assert len(held_out_samples(few, preprocessing)) == 2

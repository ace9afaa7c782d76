from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from snow_deploy.data.pictures import Splits
from snow_deploy.training.linear_probe import (
    L2_CANDIDATES,
    choose_penalties,
    fit_logistic,
    fit_probe,
    linear_probe_accuracy,
    pooled_features,
)
from tests.deploy.training.conftest import Colours

if TYPE_CHECKING:
    from snow_deploy.models.source import Source
    from snow_runtime.graph.manifest import Preprocessing
    from tests.deploy.training.conftest import ColourSource

Doubles = NDArray[np.float64]


def softmax(logits: Doubles) -> Doubles:
    powers = np.exp(logits - logits.max(1, keepdims=True))
    shares: Doubles = powers / powers.sum(1, keepdims=True)
    return shares


def gradient_descent(
    inputs: Doubles, targets: NDArray[np.int64], classes: int, l2: float, steps: int = 20_000
) -> tuple[Doubles, Doubles]:
    """Minimise mean cross-entropy + l2 |W|^2 by plain steps, in float64."""
    weight, bias = np.zeros((classes, inputs.shape[1])), np.zeros(classes)
    wanted = np.eye(classes)[targets]
    for _ in range(steps):
        error = (softmax(inputs @ weight.T + bias) - wanted) / len(inputs)  # [M, classes]
        weight -= 0.5 * (error.T @ inputs + 2 * l2 * weight)
        bias -= 0.5 * error.sum(0)
    return weight, bias


@pytest.mark.parametrize("l2", L2_CANDIDATES)
def test_the_fit_is_the_minimum(l2: float) -> None:
    rng = np.random.default_rng(1)
    inputs, targets = rng.normal(size=(60, 4)), rng.integers(0, 3, 60)
    inputs[:, 0] += targets  # something to learn

    model = fit_logistic(
        torch.from_numpy(inputs).float(), torch.from_numpy(targets), classes=3, l2=l2
    )

    weight, bias = gradient_descent(inputs, targets, 3, l2)
    found = torch.from_numpy(inputs).float() @ model.weight.T + model.bias
    expected = softmax(inputs @ weight.T + bias)
    np.testing.assert_allclose(softmax(found.detach().double().numpy()), expected, atol=2e-3)


def test_each_of_several_labels_is_fitted_as_if_alone() -> None:
    """Against a binary regression of each label, as two classes: its weights are w and -w."""
    torch.manual_seed(0)
    inputs = torch.randn(60, 4)
    present = (inputs[:, :3] + torch.randn(60, 3) > 0.3).float()

    model = fit_logistic(inputs, present, 3, l2=0.02)

    with torch.no_grad():
        found = model(inputs)
    for label in range(3):
        weight, bias = gradient_descent(
            inputs.numpy(), present[:, label].long().numpy(), 2, l2=0.04, steps=4000
        )
        logits = inputs.numpy() @ weight.T + bias
        np.testing.assert_allclose(found[:, label], logits[:, 1] - logits[:, 0], atol=2e-2)


@dataclass(frozen=True)
class Bright(Colours):
    """The same pictures, with a label for each channel that is bright."""

    def target(self, index: int) -> int:
        raise AssertionError(index)

    def present(self, index: int) -> tuple[int, ...]:
        return tuple(np.flatnonzero(self.colours[index] > 127).tolist())


def test_bright_channels_are_told_apart(
    probed: Source, colours: Colours, preprocessing: Preprocessing
) -> None:
    rng = np.random.default_rng(5)
    values = np.where(rng.random((120, 3)) < 0.4, 200, 60) + rng.integers(0, 40, (120, 3))
    sides = [
        Bright(part.astype(np.uint8), (0,) * len(part), colours.labels)
        for part in (values[:90], values[90:])
    ]

    probe = fit_probe(probed, sides[0], 3, preprocessing, workers=0)
    accuracy = linear_probe_accuracy(probed, splits_of(*sides), preprocessing, workers=0)

    assert accuracy == 1
    lengths = [float(each.weight.detach().norm()) for each in (probe.best, probe.cautious)]
    assert lengths[1] <= lengths[0]
    tiny = Bright(values[:3].astype(np.uint8), (0,) * 3, colours.labels)
    assert 0 <= linear_probe_accuracy(probed, splits_of(tiny, tiny), preprocessing, workers=0) <= 1


def test_a_larger_penalty_gives_smaller_weights() -> None:
    torch.manual_seed(0)
    inputs, targets = torch.randn(40, 3), torch.randint(0, 2, (40,))

    fits = [fit_logistic(inputs, targets, 2, l2) for l2 in L2_CANDIDATES]
    norms = [fit.weight.detach().norm().item() for fit in fits]

    assert norms == sorted(norms, reverse=True)
    assert norms[0] > 1.5 * norms[-1]


def splits_of(train: Colours, test: Colours) -> Splits:
    return Splits(train=train, val=None, test=test, augmentation="none")


def separable(colours: Colours, count: int, seed: int) -> Colours:
    """Give random colours whose brightest channel is the answer, by a margin."""
    rng = np.random.default_rng(seed)
    targets = rng.integers(0, 3, count)
    values = rng.integers(0, 100, (count, 3), dtype=np.uint8)
    values[np.arange(count), targets] += 110
    return replace(colours, colours=values, targets=tuple(int(target) for target in targets))


@pytest.fixture
def probed(colour_source: ColourSource) -> Source:
    return cast("Source", colour_source)


def test_separable_features_are_separated(
    probed: Source, colours: Colours, preprocessing: Preprocessing
) -> None:
    splits = splits_of(separable(colours, 90, 0), separable(colours, 30, 1))

    assert linear_probe_accuracy(probed, splits, preprocessing, workers=0) == 1


def test_the_fitted_classifier_reads_the_features_as_they_are(
    probed: Source, colours: Colours, preprocessing: Preprocessing
) -> None:
    train = separable(colours, 90, 0)

    probe = fit_probe(probed, train, 3, preprocessing, workers=0)

    features = torch.from_numpy(train.colours / 255 - 0.5).float() / 0.25
    with torch.no_grad():
        assert probe.best(features).argmax(1).tolist() == list(train.targets)
    lengths = [float(each.weight.detach().norm()) for each in (probe.best, probe.cautious)]
    assert lengths[1] <= lengths[0]


@pytest.mark.parametrize(
    ("scores", "pictures", "expected"),
    [
        ({0.1: 0.80, 1.0: 0.84, 10.0: 0.83, 100.0: 0.70}, 100, (1.0, 10.0)),
        ({0.1: 0.80, 1.0: 0.84, 10.0: 0.83, 100.0: 0.70}, 10_000, (1.0, 1.0)),
        ({0.1: 0.90, 1.0: 0.90, 10.0: 0.90}, 100, (0.1, 10.0)),
        ({0.1: float("nan"), 1.0: float("nan")}, 0, (0.1, 1.0)),
        ({0.1: 1.0, 1.0: 0.99}, 50, (0.1, 0.1)),  # one that never errs has no standard error
    ],
)
def test_the_cautious_penalty_is_the_strongest_within_a_standard_error(
    scores: dict[float, float], pictures: int, expected: tuple[float, float]
) -> None:
    assert choose_penalties(scores, pictures) == expected


def test_it_finds_what_the_naive_solver_finds(
    probed: Source, colours: Colours, preprocessing: Preprocessing
) -> None:
    """Overlapping classes: the accuracy is one of those that some candidate penalty gives."""
    rng = np.random.default_rng(3)
    sides = []
    for count in (120, 80):
        side = separable(colours, count, count)
        swapped = tuple(
            int(rng.integers(0, 3)) if rng.random() < 0.3 else target for target in side.targets
        )
        sides.append(replace(side, targets=swapped))
    train, test = sides

    accuracy = linear_probe_accuracy(probed, splits_of(train, test), preprocessing, workers=0)

    scaled = [(side.colours / 255 - 0.5) / 0.25 for side in sides]
    mean, std = scaled[0].mean(0), scaled[0].std(0, ddof=1) + 1e-3
    inputs, held_out = ((values - mean) / std for values in scaled)
    possible = set()
    for l2 in L2_CANDIDATES:
        weight, bias = gradient_descent(inputs, np.array(train.targets), 3, l2, steps=3000)
        right = (held_out @ weight.T + bias).argmax(1) == np.array(test.targets)
        possible.add(float(np.mean(right)))
    assert any(accuracy == pytest.approx(value, abs=0.02) for value in possible)
    assert 0.5 < accuracy < 0.95


def test_the_test_pictures_have_no_part_in_the_fit(
    probed: Source, colours: Colours, preprocessing: Preprocessing
) -> None:
    """A test picture's answer is the same whatever the other test pictures are."""
    train = separable(colours, 60, 0)
    test = separable(colours, 20, 1)
    flipped = replace(test, targets=tuple((target + 1) % 3 for target in test.targets))

    right = linear_probe_accuracy(probed, splits_of(train, test), preprocessing, workers=0)
    wrong = linear_probe_accuracy(probed, splits_of(train, flipped), preprocessing, workers=0)

    assert (right, wrong) == (1, 0)


def test_the_same_seed_gives_the_same_accuracy(
    probed: Source, colours: Colours, preprocessing: Preprocessing
) -> None:
    splits = splits_of(colours, separable(colours, 40, 1))

    found = {linear_probe_accuracy(probed, splits, preprocessing, seed=4, workers=0) for _ in "ab"}

    assert len(found) == 1


def test_features_come_in_order_without_the_unreadable(
    probed: Source, colours: Colours, preprocessing: Preprocessing
) -> None:
    broken = frozenset({2, 11})
    readable = [index for index in range(len(colours)) if index not in broken]

    features, targets = pooled_features(
        probed, replace(colours, broken=broken), preprocessing, workers=0
    )

    expected = (colours.colours[readable] / 255 - 0.5) / 0.25
    np.testing.assert_allclose(features.numpy(), expected, atol=1e-5)
    assert targets.tolist() == [colours.targets[index] for index in readable]


def test_a_tiny_training_split(
    probed: Source, colours: Colours, preprocessing: Preprocessing
) -> None:
    """Too few to hold any out for the penalty."""
    tiny = replace(colours, colours=colours.colours[:3], targets=(0, 1, 2))

    accuracy = linear_probe_accuracy(probed, splits_of(tiny, tiny), preprocessing, workers=0)

    assert accuracy == 1


def test_a_batch_of_which_nothing_can_be_read(
    source: Source, colours: Colours, preprocessing: Preprocessing
) -> None:
    """With a real source, whose convolutions see an empty batch."""
    colours = replace(colours, broken=frozenset(range(23)))
    preprocessing = replace(preprocessing, image_size=32, resize_size=32)

    features, targets = pooled_features(source, colours, preprocessing, workers=0)

    assert features.shape == (0, 512)
    assert len(targets) == 0

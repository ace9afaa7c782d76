from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, get_args

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import nn

from snow_deploy.errors import TrainingError
from snow_deploy.models.pooling import ChannelPooling, PoolingNorm, drawn_together
from snow_deploy.models.top_k import top_channels

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

Floats = NDArray[np.float32]
NORMS = get_args(PoolingNorm)

# Few different values, so that ties are the rule.
few_values = st.sampled_from([-2.0, -0.5, 0.0, 0.25, 1.0, 1.0000001, 3.0])


@st.composite
def scores_and_k(draw: st.DrawFn) -> tuple[list[float], int]:
    scores = draw(st.lists(few_values, min_size=1, max_size=40))
    return scores, draw(st.integers(1, len(scores)))


def choose(scores: Floats, k: int) -> list[int]:
    """Take the largest score k times over; of equal ones that with the lowest index."""
    left = list(range(len(scores)))
    chosen = []
    for _ in range(k):
        best = left[0]
        for channel in left:
            if scores[channel] > scores[best]:
                best = channel
        chosen.append(best)
        left.remove(best)
    return sorted(chosen)


def arrange(chosen: list[int], weights: Floats, places: Sequence[int]) -> list[int]:
    """Seat the chosen one by one, the heaviest first; who finds a seat taken waits for the rest."""
    seats: list[int | None] = [None] * len(chosen)
    waiting = []
    for channel in sorted(chosen, key=lambda channel: (-weights[channel], channel)):
        if seats[places[channel]] is None:
            seats[places[channel]] = channel
        else:
            waiting.append(channel)
    return [waiting.pop(0) if seat is None else seat for seat in seats]


def algorithm_1(features: Floats, weights: Floats, noise: Floats, k: int) -> Floats:
    """SNOW's Algorithm 1, channel by channel; in evaluation the noise is zero."""
    noisy = weights + noise
    order = arrange(choose(noisy, k), weights, at_first(len(weights), k))
    return np.stack([features[:, channel] * noisy[channel] for channel in order], axis=1)


def at_first(channels: int, k: int) -> list[int]:
    return [channel % k for channel in range(channels)]


def as_printed(
    features: torch.Tensor, w: torch.Tensor, noise: torch.Tensor, m: int, *, training: bool
) -> torch.Tensor:
    """The paper's Algorithm 1, line by line, with its optional BatchNorm and ReLU."""
    if training:
        rand_v = w + noise
        _, idx = torch.topk(rand_v, m)
        selected_weight = w[idx]
    else:
        selected_weight, idx = torch.topk(w, m)
    x = features[:, idx]
    x = x * selected_weight.view(1, -1, 1, 1)
    mean = x.mean((0, 2, 3), keepdim=True) if training else torch.zeros(1)
    var = x.var((0, 2, 3), unbiased=False, keepdim=True) if training else torch.ones(1)
    return torch.relu((x - mean) / torch.sqrt(var + 1e-5))


def pooling_of(weights: list[float], k: int, sigma2: float = 1e-3) -> ChannelPooling:
    pooling = ChannelPooling(len(weights), k, sigma2=sigma2)
    with torch.no_grad():
        pooling.weight.copy_(torch.tensor(weights))
    return pooling


def features_of(channels: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(2, channels, 3, 4, generator=torch.Generator().manual_seed(seed))


@given(scores_and_k())
def test_evaluation_is_algorithm_1_without_noise(case: tuple[list[float], int]) -> None:
    weights, k = case
    features = features_of(len(weights))

    pooled = pooling_of(weights, k).eval()(features)

    no_noise = np.zeros(len(weights), np.float32)
    expected = algorithm_1(features.numpy(), np.array(weights, np.float32), no_noise, k)
    np.testing.assert_array_equal(pooled.detach().numpy(), expected)


@given(scores_and_k(), st.integers(0, 2**32), st.sampled_from([1e-3, 0.25, 4.0]))
def test_training_is_algorithm_1_with_the_noise_that_torch_draws(
    case: tuple[list[float], int], seed: int, sigma2: float
) -> None:
    weights, k = case
    features = features_of(len(weights))
    torch.manual_seed(seed)
    noise = torch.randn(len(weights)).numpy() * np.float32(sigma2**0.5)
    torch.manual_seed(seed)

    pooled = pooling_of(weights, k, sigma2).train()(features)

    expected = algorithm_1(features.numpy(), np.array(weights, np.float32), noise, k)
    np.testing.assert_allclose(pooled.detach().numpy(), expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("k", [5, 80])
def test_the_printed_algorithm_can_be_had_to_the_letter(k: int, training: bool) -> None:
    """Weights without noise, BatchNorm behind them, and the order that torch.topk gives."""
    pooling = ChannelPooling(
        100, k, sigma2=0.09, norm="after", relu=True, weights="clean", order="descending"
    ).train(training)
    with torch.no_grad():
        pooling.weight.copy_(torch.rand(100, generator=torch.Generator().manual_seed(7)))
    features = features_of(100)
    torch.manual_seed(4)
    noise = torch.randn(100) * 0.3
    torch.manual_seed(4)

    pooled = pooling(features)

    weight = pooling.weight.detach()
    expected = as_printed(features, weight, noise, k, training=training)
    torch.testing.assert_close(pooled, expected, rtol=1e-4, atol=1e-5)
    assert pooling.order() == tuple(torch.topk(weight, k).indices.tolist())
    assert sorted(pooling.order()) == list(pooling.selection())


@given(scores_and_k(), st.integers(0, 2**32))
def test_clean_weights_are_chosen_by_noise_and_multiply_without(
    case: tuple[list[float], int], seed: int
) -> None:
    weights, k = case
    pooling = ChannelPooling(len(weights), k, sigma2=0.25, weights="clean").train()
    with torch.no_grad():
        pooling.weight.copy_(torch.tensor(weights))
    features = features_of(len(weights))
    torch.manual_seed(seed)
    noise = torch.randn(len(weights)).numpy() * np.float32(0.5)
    torch.manual_seed(seed)

    pooled = pooling(features).detach().numpy()

    clean = np.array(weights, np.float32)
    order = arrange(choose(clean + noise, k), clean, at_first(len(clean), k))
    expected = features.numpy()[:, order] * clean[order][:, None, None]
    np.testing.assert_array_equal(pooled, expected)


def test_a_descending_order_needs_no_places() -> None:
    pooling = ChannelPooling(8, 3, sigma2=1.0, order="descending").train()
    before = pooling.places.clone()

    pooling(features_of(8))

    assert torch.equal(pooling.places, before)


@given(scores_and_k())
def test_of_equal_scores_the_lowest_channels_win(case: tuple[list[float], int]) -> None:
    weights, k = case
    expected = choose(np.array(weights, np.float32), k)

    assert top_channels(torch.tensor(weights), k).tolist() == expected
    assert pooling_of(weights, k).selection() == tuple(expected)


def test_ties_in_a_wide_layer() -> None:
    # An unstable sort keeps short inputs in order and shuffles long ones.
    scores = torch.ones(2048)
    scores[[7, 1999]] = 2

    assert top_channels(scores, 256).tolist() == [*range(255), 1999]


def test_selection_is_what_evaluation_reads() -> None:
    pooling = pooling_of([0.5, -1, 3, 0.5, 0.75, 0.5], 3).eval()
    marked = torch.arange(6.0).view(1, 6, 1, 1) + 10

    pooled = pooling(marked).flatten().tolist()

    assert pooling.selection() == (0, 2, 4)
    assert pooling.order() == (0, 4, 2)  # at first, channel c belongs at place c % 3
    assert pooled == pytest.approx([10 * 0.5, 14 * 0.75, 12 * 3])


@given(scores_and_k(), st.randoms(use_true_random=False))
def test_the_order_is_that_of_the_places(case: tuple[list[float], int], random: Random) -> None:
    weights, k = case
    pooling = pooling_of(weights, k)
    places = [random.randrange(k) for _ in weights]
    pooling.places.copy_(torch.tensor(places))

    expected = arrange(list(pooling.selection()), np.array(weights, np.float32), places)
    assert list(pooling.order()) == expected


def test_a_channel_comes_out_where_it_came_out_before() -> None:
    """Whoever comes in takes the place of who goes; nobody else moves."""
    pooling = pooling_of([4.0, 3.0, 2.0, 1.0, 0.0, 0.0], 3, sigma2=0.0).train()
    features = features_of(6)
    pooling(features)
    assert pooling.order() == (0, 1, 2)

    for weights, order in [
        ([4.0, 0.0, 2.0, 0.0, 0.0, 1.0], (0, 5, 2)),  # 5 for 1: at 2, its own, is a heavier one
        ([0.0, 0.0, 2.0, 1.0, 0.0, 3.0], (3, 5, 2)),  # 3 for 0
        ([3.0, 0.0, 2.0, 0.0, 0.0, 1.0], (0, 5, 2)),  # 0 is back at its place
        ([0.0, 3.0, 2.0, 0.0, 0.0, 4.0], (1, 5, 2)),  # 1 finds its own taken by a heavier one
    ]:
        with torch.no_grad():
            pooling.weight.copy_(torch.tensor(weights))
        pooling(features)
        assert pooling.order() == order


@pytest.mark.parametrize("k", [63, 64, 200])
def test_many_channels_come_out_in_order_too(k: int) -> None:
    generator = torch.Generator().manual_seed(k)
    pooling = ChannelPooling(300, k, sigma2=0.0).eval()
    with torch.no_grad():
        pooling.weight.copy_(torch.rand(300, generator=generator))
    pooling.places.copy_(torch.randint(k, (300,), generator=generator))
    features = features_of(300)

    pooled = pooling(features)

    order = list(pooling.order())
    assert order != sorted(order)
    expected = features[:, order] * pooling.weight[order].view(-1, 1, 1)
    assert torch.equal(pooled, expected)


def test_evaluation_moves_no_channel() -> None:
    pooling = pooling_of([0.0, 3.0, 2.0, 1.0], 2, sigma2=0.0).eval()
    before = pooling.places.clone()

    pooling(features_of(4))

    assert torch.equal(pooling.places, before)


def test_while_it_explores_most_channels_stay_where_they_are() -> None:
    """In ascending order one channel more or less moves all that come behind it."""
    torch.manual_seed(0)
    weights = torch.randn(512) * 0.05
    pooling = ChannelPooling(512, 64, sigma2=0.0).train()
    orders, ascending = [], []
    for _ in range(60):
        with torch.no_grad():
            pooling.weight.copy_(weights + torch.randn(512) * 0.016)
        pooling(torch.zeros(1, 512, 1, 1))
        orders.append(torch.tensor(pooling.order()))
        ascending.append(torch.tensor(pooling.selection()))

    def stay(rows: list[torch.Tensor]) -> float:
        return float(np.mean([(a == b).float().mean() for a, b in pairwise(rows[30:])]))

    assert stay(orders) > 2 * stay(ascending)


@given(
    st.lists(scores_and_k(), min_size=1, max_size=3),
    st.integers(1, 3),
    st.integers(0, 2**32),
    st.sampled_from([0.0, 0.25]),
)
def test_drawn_together_each_is_algorithm_1(
    cases: list[tuple[list[float], int]], alike: int, seed: int, sigma2: float
) -> None:
    """Of each shape there are some; every one has weights, noise and places of its own."""
    shapes = {(len(weights), k): (weights, k) for weights, k in cases}
    groups = [
        [pooling_of(weights[turn:] + weights[:turn], k, sigma2).train() for turn in range(alike)]
        for weights, k in shapes.values()
    ]
    poolings = [pooling for group in groups for pooling in group]
    for step in range(2):
        before = [pooling.places.tolist() for pooling in poolings]
        torch.manual_seed(seed + step)
        drawn = [torch.randn(alike, group[0].channels) * sigma2**0.5 for group in groups]
        noises = [row.numpy() for group in drawn for row in group]
        torch.manual_seed(seed + step)

        with drawn_together(poolings):
            pooled = [pooling(features_of(pooling.channels)) for pooling in poolings]

        for pooling, noise, places, ours in zip(poolings, noises, before, pooled, strict=True):
            weights = pooling.weight.detach().numpy()
            order = arrange(choose(weights + noise, pooling.k), weights, places)
            features = features_of(pooling.channels).numpy()
            expected = np.stack([features[:, c] * (weights + noise)[c] for c in order], axis=1)
            np.testing.assert_allclose(ours.detach().numpy(), expected, rtol=1e-6, atol=1e-7)
            assert pooling.places[order].tolist() == list(range(pooling.k))


def test_what_was_drawn_together_is_for_one_pass() -> None:
    """Also for one that fails: the next pass draws anew."""
    poolings = [ChannelPooling(64, 8, sigma2=1.0).train() for _ in range(2)]
    features = features_of(64)

    def fail() -> None:
        with drawn_together(poolings):
            seen.append(poolings[0](features))
            seen.append(poolings[0](features))
            raise RuntimeError

    seen: list[torch.Tensor] = []
    for _ in range(2):
        with pytest.raises(RuntimeError):
            fail()
    seen.append(poolings[0](features))

    assert torch.equal(seen[0], seen[1])
    assert not torch.equal(seen[1], seen[2])
    assert not torch.equal(seen[3], seen[4])


def test_poolings_that_differ_do_not_draw_together() -> None:
    """Noise of another deviation, another norm, evaluation: each gets its own."""
    still, moving = (pooling_of([3.0, 1.0, 2.0], 2, sigma2) for sigma2 in (0.0, 4.0))
    weighted, normed = ChannelPooling(3, 2, norm="none"), ChannelPooling(3, 2, norm="before")
    clean, falling = (
        ChannelPooling(3, 2, sigma2=0.0, weights="clean"),
        ChannelPooling(3, 2, sigma2=0.0, order="descending"),
    )
    falling.weight.data.copy_(torch.tensor([1.0, 2.0, 3.0]))
    seen = pooling_of([3.0, 1.0, 2.0], 2, 4.0).eval()
    features = features_of(3)
    before = torch.get_rng_state()

    with drawn_together([seen, still]):
        assert torch.equal(torch.get_rng_state(), before)
        assert torch.equal(seen(features), still(features))
    with drawn_together([still, moving, weighted, normed, clean, falling]):
        assert torch.equal(falling(features)[:, 0], 3 * features[:, 2])
        assert torch.equal(still(features), seen(features))
        assert not torch.equal(moving(features), seen(features))
        assert normed(features).mean().abs() < 1e-6 < weighted(features).mean().abs()


@pytest.mark.parametrize("sigma2", [0.04, 0.5])
def test_sigma2_is_the_variance_of_the_noise(sigma2: float) -> None:
    channels = 20_000
    pooling = ChannelPooling(channels, channels, sigma2=sigma2).train()
    torch.manual_seed(3)

    noise = pooling(torch.ones(1, channels, 1, 1)).flatten() - 1

    assert noise.var().item() == pytest.approx(sigma2, rel=0.05)
    assert noise.mean().item() == pytest.approx(0, abs=5 * (sigma2 / channels) ** 0.5)


def test_every_training_pass_draws_anew() -> None:
    pooling = ChannelPooling(64, 8, sigma2=1.0).train()
    features = features_of(64)

    assert not torch.equal(pooling(features), pooling(features))


def test_training_reads_channels_by_the_noisy_scores() -> None:
    """Every channel is tried now and then; the best one most of the time."""
    pooling = pooling_of([0.1, 0.0, 0.0, 0.0], 1, sigma2=0.01).train()
    marked = torch.eye(4).view(1, 4, 1, 4)  # channel c is lit at place c
    torch.manual_seed(0)

    chosen = [int(pooling(marked).flatten().nonzero()) for _ in range(300)]

    seen = [chosen.count(channel) for channel in range(4)]
    assert min(seen) > 0
    assert seen[0] == max(seen)


def test_without_variance_training_is_evaluation() -> None:
    pooling = pooling_of([3.0, 1.0, 2.0], 2, sigma2=0.0)
    features = features_of(3)

    assert torch.equal(pooling.train()(features), pooling.eval()(features))


def test_evaluation_is_deterministic_and_draws_nothing() -> None:
    pooling = ChannelPooling(32, 4, sigma2=1.0, norm="after").eval()
    features = features_of(32)
    before = torch.get_rng_state()

    first, second = pooling(features), pooling(features)

    assert torch.equal(first, second)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("training", [False, True])
def test_only_chosen_weights_get_a_gradient(training: bool) -> None:
    pooling = ChannelPooling(12, 5, sigma2=1.0).train(training)
    features, upstream = features_of(12), features_of(5, seed=1)
    torch.manual_seed(0)
    noise = torch.randn(12).numpy() if training else np.zeros(12, np.float32)
    torch.manual_seed(0)

    (pooling(features) * upstream).sum().backward()

    weights = np.ones(12, np.float32)
    chosen = arrange(choose(weights + noise, 5), weights, at_first(12, 5))
    expected = np.zeros(12, np.float32)
    for place, channel in enumerate(chosen):
        expected[channel] = (features[:, channel] * upstream[:, place]).sum().item()
    assert pooling.weight.grad is not None
    np.testing.assert_allclose(pooling.weight.grad.numpy(), expected, rtol=1e-5)
    assert set(np.flatnonzero(pooling.weight.grad)) == set(chosen)


def test_the_weight_is_trained_and_saved() -> None:
    pooling = ChannelPooling(6, 2)
    assert [name for name, _ in pooling.named_parameters()] == ["weight"]
    assert pooling.weight.requires_grad
    assert pooling.weight.tolist() == [1.0] * 6

    optimizer = torch.optim.SGD(pooling.parameters(), lr=1)
    pooling(features_of(6)).sum().backward()
    optimizer.step()

    again = ChannelPooling(6, 2)
    again.load_state_dict(pooling.state_dict())
    assert not torch.equal(pooling.weight, torch.ones(6))
    assert torch.equal(again.weight, pooling.weight)
    assert again.selection() == pooling.selection()


def test_what_was_saved_without_places_comes_out_ascending() -> None:
    state = pooling_of([0.0, 3.0, 2.0, 1.0, 5.0], 3).state_dict()
    del state["places"]
    pooling = ChannelPooling(5, 3)

    pooling.load_state_dict(state)

    assert pooling.order() == pooling.selection() == (1, 2, 4)


def test_places_are_saved() -> None:
    pooling = pooling_of([0.0, 3.0, 2.0, 1.0, 5.0], 3, sigma2=0.0).train()
    pooling(features_of(5))
    with torch.no_grad():
        pooling.weight[1] = 6
    again = ChannelPooling(5, 3)

    again.load_state_dict(pooling.state_dict())

    assert again.order() == pooling.order() == (1, 4, 2)
    assert pooling_of([0.0, 6.0, 2.0, 1.0, 5.0], 3).order() == (4, 1, 2)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("norm", NORMS)
def test_norm_and_relu_stand_where_they_should(
    norm: PoolingNorm, relu: bool, training: bool
) -> None:
    pooling = ChannelPooling(6, 3, sigma2=0.0, norm=norm, relu=relu).train(training)
    with torch.no_grad():
        pooling.weight.copy_(torch.tensor([1.0, -2.0, 0.5, 3.0, 0.1, 2.0]))
    features = features_of(6)
    if pooling.norm is not None:
        nn.init.uniform_(pooling.norm.weight, -1, 1)
        nn.init.uniform_(pooling.norm.bias, -1, 1)

    pooled = pooling(features).detach().numpy()

    weights = np.array([3, 1, 2], np.float32)[:, None, None]
    expected = features.numpy()[:, [3, 0, 5]]  # 0 and 3 belong at place 0; 3 is heavier
    if norm != "before":
        expected = expected * weights
    if pooling.norm is not None:
        mean = expected.mean((0, 2, 3), keepdims=True) if training else 0.0
        var = expected.var((0, 2, 3), keepdims=True) if training else 1.0
        gain, shift = (
            value.detach().numpy()[:, None, None]
            for value in (pooling.norm.weight, pooling.norm.bias)
        )
        expected = (expected - mean) / np.sqrt(var + 1e-5) * gain + shift
    if norm == "before":
        expected = expected * weights
    if relu:
        expected = np.maximum(expected, 0)
    np.testing.assert_allclose(pooled, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("shape", [(2, 8, 5, 3), (2, 8, 1, 1), (1, 8, 4, 4)])
def test_the_output_is_channels_last(shape: tuple[int, ...], norm: PoolingNorm) -> None:
    pooling = ChannelPooling(8, 3, norm=norm).eval()
    features = torch.randn(shape).contiguous(memory_format=torch.channels_last)

    pooled = pooling(features)

    assert pooled.shape == (shape[0], 3, *shape[2:])
    assert pooled.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(pooled, pooling(features.contiguous()))


@pytest.mark.parametrize(("norm", "learns"), [("before", True), ("after", False), ("none", True)])
def test_a_norm_behind_the_weights_leaves_them_no_gradient(norm: PoolingNorm, learns: bool) -> None:
    pooling = ChannelPooling(6, 3, sigma2=0.0, norm=norm, relu=True)
    features = features_of(6)

    (pooling(features) * torch.randn(3, 1, 1)).sum().backward()

    assert pooling.weight.grad is not None
    assert bool((pooling.weight.grad[:3].abs() > 1e-3).all()) == learns
    assert not pooling.weight.grad[3:].any()


def test_the_exploration_scales_the_noise() -> None:
    features = features_of(6)
    pooling, wide = ChannelPooling(6, 3, sigma2=0.25), ChannelPooling(6, 3, sigma2=1.0)
    wide.exploration = 0.5

    torch.manual_seed(2)
    expected = pooling(features)
    torch.manual_seed(2)
    assert torch.equal(wide(features), expected)
    wide.exploration = 0.0
    assert torch.equal(wide(features), wide.eval()(features))


def test_a_place_for_a_norm_that_does_not_exist() -> None:
    with pytest.raises(TrainingError, match="one of before, after, none, not 'behind'"):
        ChannelPooling(6, 3, norm="behind")  # type: ignore[arg-type]


def test_weights_and_orders_that_do_not_exist() -> None:
    with pytest.raises(TrainingError, match="weights is one of noisy, clean, not 'loud'"):
        ChannelPooling(6, 3, weights="loud")  # type: ignore[arg-type]
    with pytest.raises(TrainingError, match="order is one of places, descending, not 'random'"):
        ChannelPooling(6, 3, order="random")  # type: ignore[arg-type]


@pytest.mark.parametrize("k", [0, -1, 7])
def test_k_out_of_range(k: int) -> None:
    with pytest.raises(TrainingError, match=rf"cannot keep {k} of 6 channels; choose 1 to 6"):
        ChannelPooling(6, k)


@pytest.mark.parametrize("sigma2", [-0.1, float("nan")])
def test_sigma2_out_of_range(sigma2: float) -> None:
    with pytest.raises(TrainingError, match="is a variance and cannot be"):
        ChannelPooling(6, 2, sigma2=sigma2)


def test_it_prints_its_numbers() -> None:
    assert "64 -> 8, sigma2=0.001" in repr(ChannelPooling(64, 8))

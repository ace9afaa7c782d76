"""Drift: what is told of scenes that change, and how seldom anything is of those that do not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from scipy import ndimage
from scipy.stats import beta, binom

from snow_runtime.confidence.familiarity import unlikenesses
from snow_runtime.confidence.fit_familiarity import KnownPictures, fit_familiarity
from snow_runtime.drift.exceedance import WRONG, Bound, false_alarms, fewest_strange
from snow_runtime.drift.reference import Reference, reference_of
from snow_runtime.drift.watch import DriftOptions, Watch
from snow_runtime.drift.watcher import DriftWatcher
from snow_runtime.graph.confidence_entry import ConfidenceEntry
from snow_runtime.graph.features_entry import TapEntry
from snow_runtime.results import TaskResult

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Scene = Callable[[NDArray[Any]], NDArray[Any]]

TAPS = (TapEntry("one", 12), TapEntry("two", 24))
FILTERS = [
    np.random.default_rng(number).normal(size=(count, 3, 3, 3))
    for number, count in enumerate((12, 24))
]
OPTIONS = DriftOptions(sample_s=120.0)
DAY_S = 86_400.0


@pytest.mark.parametrize("held_out", [48, 300])
def test_the_number_of_blocks_is_what_the_formula_says(held_out: int) -> None:
    """The integral over the share beyond the bound, written out on draws."""
    rank = int(np.ceil((held_out + 1) * 0.96))
    share = beta.rvs(held_out + 1 - rank, rank, size=40_000, random_state=1) + WRONG
    tail = np.minimum(1, 2016 * binom.sf(9, 12, np.minimum(1, 2 * share)))

    assert false_alarms(Bound(held_out, 0.96), (12, 10), 2016) == pytest.approx(
        tail.mean(), rel=0.15
    )
    assert fewest_strange(Bound(held_out, 0.96), 12, 2016, 0.05) == 10
    assert fewest_strange(Bound(held_out, 0.96), 3, 2016, 0.0001) is None


def test_a_share_beyond_an_order_statistic_is_a_beta_draw() -> None:
    rng = np.random.default_rng(0)
    bounds = np.sort(rng.normal(size=(4000, 48)))[:, 47 - 1]  # rank 47
    from scipy.stats import norm

    beyond = norm.sf(bounds)
    assert np.quantile(beyond, [0.1, 0.5, 0.9]) == pytest.approx(
        beta.ppf([0.1, 0.5, 0.9], 49 - 47, 47), rel=0.1
    )


def watch_days(unlikeness: NDArray[Any], every_s: float = 120.0, held_out: int = 200) -> int:
    """Count the alarms that a series of one camera's frames gives."""
    watch = Watch(Bound(held_out, 0.96), OPTIONS)
    alarms = 0
    for number, value in enumerate(unlikeness.tolist()):
        alarms += watch.see(value, 1e9 + every_s * number) and watch.now.drifted
    return alarms


@pytest.mark.parametrize("minutes", [0.0, 10.0])
def test_a_quiet_camera_is_quiet_for_weeks(minutes: float) -> None:
    """Noise that hangs together for minutes, against a bound of 200 held-out pictures."""
    rng = np.random.default_rng(int(minutes))
    steps = int(28 * DAY_S / 120)
    rho = np.exp(-2 / minutes) if minutes else 0.0
    alarmed = 0
    for _ in range(12):
        bound = np.sort(rng.normal(size=200))[int(np.ceil(201 * 0.96)) - 1]
        shocks = rng.normal(size=steps) * np.sqrt(1 - rho**2)
        shocks[0] = rng.normal()
        noise = ndimage.convolve1d(shocks, [1.0]) if rho == 0 else _ar(shocks, rho)
        alarmed += watch_days(1 + noise - bound) > 0
    assert alarmed <= 1  # 5 % of 12 are 0.6


def _ar(shocks: NDArray[Any], rho: float) -> NDArray[Any]:
    from scipy.signal import lfilter

    return np.asarray(lfilter([1.0], [1.0, -rho], shocks))


def features_of(pictures: NDArray[Any]) -> NDArray[np.float32]:
    """Pool a small network's features of pictures `[B, 24, 24, 3]`."""
    pictures = (pictures - 0.45) / 0.25  # as networks have it
    parts = []
    for filters in FILTERS:
        patches = np.lib.stride_tricks.sliding_window_view(pictures, (3, 3), (1, 2))
        found = np.einsum("bhwcij,kcij->bhwk", patches[:, ::2, ::2], filters, optimize=True)
        parts.append(np.maximum(found, 0).mean(axis=(1, 2)))
    return np.concatenate(parts, axis=1).astype(np.float32)


def scenes(count: int, seed: int) -> NDArray[Any]:
    """Draw a yard with a door, by changing light, with a box that stands somewhere."""
    rng = np.random.default_rng(seed)
    base = np.random.default_rng(0).random((24, 24, 3)) * 0.3 + 0.35
    found = np.repeat(base[np.newaxis], count, axis=0)
    found[:, 6:18, 9:15] = (0.6, 0.3, 0.2)
    for picture, place in zip(found, rng.integers(0, 18, (count, 2)), strict=True):
        picture[place[0] : place[0] + 4, place[1] : place[1] + 4] = 0.8
    light = rng.uniform(0.85, 1.15, (count, 1, 1, 1))
    return np.asarray((found * light + rng.normal(0, 0.02, found.shape)).clip(0, 1))


CHANGES: dict[str, Any] = {
    "night": lambda found: found * 0.15,
    "moved camera": lambda found: np.roll(found, (7, 9), (1, 2))[:, ::-1],
    "dirty lens": lambda found: ndimage.gaussian_filter(found, (0, 2.0, 2.0, 0)),
    "season": lambda found: found * (1.2, 1.0, 0.7),
}


@pytest.fixture(scope="module")
def entry() -> Any:
    pictures = features_of(scenes(240, 1))
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(240, 2)).astype(np.float32) * 0.01
    known = KnownPictures(pictures, logits, np.ones(240, np.bool_))
    return fit_familiarity(known, TAPS, several=True)


def answers(entry: Any, pictures: NDArray[Any]) -> list[dict[str, TaskResult]]:
    features = features_of(pictures)
    unlike = unlikenesses(entry, features, TAPS, np.zeros((len(features), 2), np.float32))
    confidence = ConfidenceEntry(1.0, 240, "cross-validation", None, None, {}, entry)
    share = np.array([0.9, 0.1], np.float32)
    return [
        {"door": TaskResult("door", ("open", "shut"), share, "one", confidence, float(value))}
        for value in unlike
    ]


def test_usual_frames_are_usual(entry: Any) -> None:
    watcher = DriftWatcher(OPTIONS)
    told = [
        event
        for number, each in enumerate(answers(entry, scenes(400, 7)))
        for event in watcher.see("yard", each, 1e9 + 120 * number)
    ]
    assert told == []
    (row,) = watcher.to_dict()
    assert not row["drifted"]
    assert row["share"] < 0.2


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_of_the_scene_is_told_within_hours_and_its_end_too(
    change: str, entry: Any
) -> None:
    watcher = DriftWatcher(OPTIONS)
    usual, other = scenes(150, 8), CHANGES[change](scenes(150, 9))
    told: list[Any] = []
    for number, each in enumerate(answers(entry, np.concatenate([usual, other, usual]))):
        told += watcher.see("yard", each, 1e9 + 120 * number)

    began, ended = told
    assert began.to_dict()["event"] == "drift"
    assert (began.now.drifted, ended.now.drifted) == (True, False)
    assert 150 * 120 < began.at - 1e9 < 150 * 120 + 5 * 3600
    assert 300 * 120 < ended.at - 1e9 < 300 * 120 + 5 * 3600


def test_a_season_that_comes_slowly_is_told_in_the_end(entry: Any) -> None:
    watcher = DriftWatcher(OPTIONS)
    found = scenes(500, 10)
    slow = np.linspace(0, 1, 500)[:, np.newaxis, np.newaxis, np.newaxis]
    found *= 1 + slow * (np.array([1.2, 1.0, 0.7]) - 1)
    told: list[Any] = []
    for number, each in enumerate(answers(entry, found)):
        told += watcher.see("yard", each, 1e9 + 120 * number)

    assert [event.now.drifted for event in told] == [True]


def test_each_camera_is_watched_by_itself_and_a_new_fit_begins_anew(entry: Any) -> None:
    watcher = DriftWatcher(OPTIONS)
    usual, other = answers(entry, scenes(150, 8)), answers(entry, scenes(150, 9) * 0.15)
    for number, (one, two) in enumerate(zip(usual, other, strict=True)):
        watcher.see("yard", one, 1e9 + 120 * number)
        watcher.see("gate", two, 1e9 + 120 * number)
    assert [(row["camera"], row["drifted"]) for row in watcher.to_dict()] == [
        ("yard", False),
        ("gate", True),
    ]
    again = fit_familiarity(
        KnownPictures(
            features_of(scenes(100, 3)), np.zeros((100, 2), np.float32), np.ones(100, np.bool_)
        ),
        TAPS,
        several=True,
    )
    later = 1e9 + 120 * 150
    (event,) = watcher.see("gate", answers(again, scenes(1, 4))[0], later)
    assert (event.camera, event.now.drifted, event.at) == ("gate", False, later)  # an alarm ends
    assert watcher.to_dict()[1]["blocks"] == 0
    assert [row["camera"] for row in watcher.to_dict()] == ["yard", "gate"]
    watcher.see("gate", answers(again, scenes(1, 4))[0], later + 2 * DAY_S)
    assert [row["camera"] for row in watcher.to_dict()] == ["gate"]  # nobody sees the yard


def test_what_says_nothing_of_its_pictures_is_not_watched() -> None:
    plain = TaskResult("door", ("open", "shut"), np.array([0.9, 0.1], np.float32))
    watcher = DriftWatcher()
    assert watcher.see("yard", {"door": plain}, 0.0) == ()
    assert watcher.to_dict() == []


def test_a_camera_that_was_away_says_nothing_of_that_time() -> None:
    watch = Watch(Bound(200, 0.96), OPTIONS)
    for number in range(200):  # a frame an hour is too few for a block
        watch.see(9.0, 1e9 + 3600 * number)
    assert watch.now.blocks == 0


@pytest.fixture(scope="module")
def reference() -> Reference:
    found = reference_of(features_of(scenes(60, 1)), np.arange(60), TAPS)
    assert found is not None
    return found


def follow(reference: Reference, pictures: NDArray[Any]) -> list[Any]:
    """Show a camera's frames to a watcher that has the training pictures themselves."""
    watcher = DriftWatcher(OPTIONS)
    watcher.know({"door": reference})
    told: list[Any] = []
    for number, row in enumerate(features_of(pictures)):
        watcher.look("yard", ["door", "other"], row, 1e9 + 120 * number)
        told += watcher.see("yard", {}, 1e9 + 120 * number)
    return told


def test_a_distance_is_that_to_the_third_nearest_of_other_moments() -> None:
    rng = np.random.default_rng(0)
    features = np.repeat(rng.random((30, 36)), 2, axis=0).astype(np.float32)  # pairs of copies
    found = reference_of(features, np.arange(60) // 2, TAPS)
    assert found is not None
    normed = np.concatenate(
        [
            part / np.linalg.norm(part, axis=1, keepdims=True)
            for part in np.split(features, [12], 1)
        ],
        axis=1,
    )
    deviation = normed.std(axis=0)
    rows = normed / (deviation + 0.3 * deviation.mean())
    apart = np.linalg.norm(rows[:, None] - rows[None], axis=2)
    apart[np.arange(60)[:, None] // 2 == np.arange(60) // 2] = np.inf
    limit = np.sort(np.sort(apart, axis=1)[:, 2])[55 - 1]  # rank ceil(61 * 0.9)

    far = 1 - features[0]
    parts = [part / np.linalg.norm(part) for part in np.split(far, [12])]
    wanted = np.sort(
        np.linalg.norm(np.concatenate(parts) / (deviation + 0.3 * deviation.mean()) - rows, axis=1)
    )[2]
    assert found.unlikeness(far) == pytest.approx(wanted / limit, rel=1e-3)
    assert found.bound == Bound(30, 0.9, 0.0)
    assert reference_of(features[:20], np.arange(20) // 2, TAPS) is None


def test_usual_frames_are_near_sixty_training_pictures(reference: Reference) -> None:
    found = [reference.unlikeness(row) for row in features_of(scenes(300, 21))]
    assert 0.03 < np.mean(np.array(found) > 1) < 0.25
    assert follow(reference, scenes(400, 22)) == []


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_is_told_by_few_training_pictures(change: str, reference: Reference) -> None:
    told = follow(reference, np.concatenate([scenes(100, 8), CHANGES[change](scenes(150, 9))]))
    assert [event.now.drifted for event in told] == [True]


def test_a_question_with_pictures_does_not_go_by_its_bound(
    entry: Any, reference: Reference
) -> None:
    watcher = DriftWatcher(OPTIONS)
    watcher.know({"door": reference})
    assert watcher.see("yard", answers(entry, scenes(1, 4))[0], 1e9) == ()
    assert watcher.to_dict() == []

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from snow_runtime.bench.contender import Contender, Frames
from snow_runtime.bench.options import BenchOptions
from snow_runtime.bench.stages import STAGES, LatencySamples, StageTimes, TimedSession
from snow_runtime.model import Model

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tests.runtime.conftest import Graph

MS = st.floats(0, 1e3)


class Clock:
    """A clock that only moves when it is told to, in the place of a module's `time`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_s = 100.0
        for name in ("bench.stages", "bench.contender", "model", "pictures.prepared"):
            stand_in = SimpleNamespace(perf_counter=lambda: self.now_s)
            monkeypatch.setattr(f"snow_runtime.{name}.time", stand_in)

    def delay(
        self, monkeypatch: pytest.MonkeyPatch, target: Any, name: str, milliseconds: float
    ) -> None:
        """Make a function take so long."""
        function = getattr(target, name)

        def delayed(*arguments: Any) -> Any:
            self.now_s += 1e-3 * milliseconds
            return function(*arguments)

        monkeypatch.setattr(target, name, delayed)


@pytest.fixture
def options(graph: Graph) -> BenchOptions:
    return BenchOptions((graph.path,), camera=(64, 48), threads=1)


@pytest.mark.parametrize("copy_ms", [None, 2.0])
def test_each_stage_gets_its_own_time(
    options: BenchOptions, monkeypatch: pytest.MonkeyPatch, copy_ms: float | None
) -> None:
    import snow_runtime.model
    import snow_runtime.pictures.prepared

    contender = Contender(options.models[0], options)
    session: Any = contender.session._session
    clock = Clock(monkeypatch)
    clock.delay(monkeypatch, snow_runtime.pictures.prepared, "prepare_for", 3)
    clock.delay(monkeypatch, session, "run", 7)
    clock.delay(
        monkeypatch, snow_runtime.model, "to_probabilities", 0.5
    )  # once a task, of which are two
    if copy_ms is not None:
        monkeypatch.setattr(type(session), "copy_ms", copy_ms)

    times = contender.call(Frames(options).take())

    assert times.preprocess == pytest.approx(3)
    assert times.postprocess == pytest.approx(1)
    if copy_ms is None:
        assert math.isnan(times.copy)
        assert times.inference == pytest.approx(7)
    else:
        assert (times.copy, times.inference) == pytest.approx((2, 5))
    # And they add up to what the model itself says of such a call.
    assert contender.model(Frames(options).take()[0]).latency_ms == pytest.approx(np.nansum(times))


def test_stages_add_up_to_the_models_own_latency(options: BenchOptions) -> None:
    contender = Contender(options.models[0], options)
    import time

    apart = []
    for _ in range(20):
        frame = Frames(options).take()[0]
        began_s = time.perf_counter()
        result = contender.model(frame)
        stages = contender.session.stages(began_s, time.perf_counter())
        total_ms = float(np.nansum(stages))
        assert total_ms >= result.latency_ms  # the model's own clock starts later and ends earlier
        apart.append((total_ms - result.latency_ms) / total_ms)

    assert min(apart) < 0.1  # of the call that nothing else came between


def test_a_copy_is_never_longer_than_the_run_that_it_is_part_of() -> None:
    session = TimedSession(SimpleNamespace(copy_ms=9.0))
    session.began_s, session.ended_s = 1.0, 1.004

    times = session.stages(0.999, 1.006)

    assert times == pytest.approx((1, 4, 0, 2))


def test_the_session_is_the_same_but_for_its_clock(graph: Graph, frame: NDArray[np.uint8]) -> None:
    from snow_runtime.backends.onnxruntime_session import OnnxSession

    inner = OnnxSession(graph.path, ["CPUExecutionProvider"], threads=1)
    timed = TimedSession(inner)

    assert timed.batch_size is inner.batch_size is None
    assert timed.copy_ms is None
    assert timed.providers == ("CPUExecutionProvider",)
    with Model(timed, inner.manifest) as model:
        reference = Model(inner, inner.manifest)(frame)
        for name, answer in model(frame).items():
            np.testing.assert_array_equal(answer.probabilities, reference[name].probabilities)
    assert inner._session is None  # closed with it


@given(st.lists(st.lists(st.tuples(MS, MS, MS, MS), min_size=1, max_size=4), max_size=5))
def test_samples_give_back_what_they_were_given(
    drawn: list[list[tuple[float, float, float, float]]],
) -> None:
    samples = LatencySamples()
    for turn in drawn:
        for values in turn:
            samples.add(StageTimes(*values))
        samples.end_round()
    calls = [values for turn in drawn for values in turn]

    assert len(samples) == len(calls)
    assert samples.rounds == len(drawn)
    assert samples.measured_s == pytest.approx(sum(map(sum, calls)) / 1e3)
    for index, stage in enumerate(STAGES):
        assert samples.times_ms(stage).tolist() == [values[index] for values in calls]
        listed = [times.tolist() for times in samples.rounds_ms(stage)]
        assert listed == [[values[index] for values in turn] for turn in drawn]
    np.testing.assert_allclose(samples.times_ms("latency"), [sum(values) for values in calls])


def test_an_unknown_copy_is_left_out_of_the_sum_and_an_open_round_of_the_rounds() -> None:
    samples = LatencySamples()
    samples.add(StageTimes(1, math.nan, 2, 3))
    samples.end_round()
    samples.add(StageTimes(4, math.nan, 5, 6))

    assert samples.times_ms("latency").tolist() == [6, 15]
    assert samples.measured_s == pytest.approx(0.021)
    assert [times.tolist() for times in samples.rounds_ms("latency")] == [[6]]

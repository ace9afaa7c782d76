# ruff: noqa: F401, F811 - fixtures are imported, and asked for by name
from __future__ import annotations

import gc
import logging
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snow_runtime.engine.lane import KEPT_SIZES
from snow_runtime.engine.pool import SlotPool
from snow_runtime.engine.session import EngineSession
from snow_runtime.errors import GraphError, InputError
from snow_runtime.graph.manifest import InputEntry
from tests.runtime.engine.fake_cuda import FakeDriver
from tests.runtime.engine.fake_engine import (
    TENSORRT,
    TENSORRT_RTX,
    FakeContext,
    FakeEngine,
    RuntimeConfig,
    Strategy,
)
from tests.runtime.engine.sessions import batch_of, check, driver, engine, session

if TYPE_CHECKING:
    from snow_runtime.graph.manifest import Manifest

COPIES = ("cuMemcpyHtoDAsync", "cuMemcpyDtoHAsync")


# ------------------------------------------------------------------------------------- the answers


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 8, 13])
def test_logits_are_those_of_the_plain_arithmetic(
    session: EngineSession, engine: FakeEngine, count: int
) -> None:
    for _ in range(3):  # warmed up, captured, launched
        check(engine, session.run(batch_of(count)), batch_of(count))


def test_results_are_the_callers_own(session: EngineSession, engine: FakeEngine) -> None:
    batches = [batch_of(2, seed) for seed in range(6)]
    results = [session.run(batch) for batch in batches]
    for batch, logits in zip(batches, results, strict=True):
        check(engine, logits, batch)
    results[0]["food"][:] = 0
    check(engine, session.run(batches[1]), batches[1])


def test_batches_that_are_not_contiguous(session: EngineSession, engine: FakeEngine) -> None:
    batch = np.ascontiguousarray(batch_of(3).transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    check(engine, session.run(batch[::-1]), batch[::-1])


def test_batches_below_the_smallest_are_filled_up(driver: FakeDriver, manifest: Manifest) -> None:
    engine = FakeEngine(driver, manifest, (3, 5))
    session = EngineSession(engine, manifest, TENSORRT)
    assert session.batch_size is None
    for count in (5, 1, 2, 3, 6, 1, 11):  # after 5, what is left of it lies in the buffer
        check(engine, session.run(batch_of(count)), batch_of(count))
    session.close()


def test_copies_are_timed_by_themselves_once_a_batch_size(
    driver: FakeDriver, manifest: Manifest
) -> None:
    engine = FakeEngine(driver, manifest, (1, 4))
    session = EngineSession(engine, manifest, TENSORRT)
    assert session.copy_ms is None
    batch = batch_of(6)  # in two parts
    logits = session.run(batch)
    before = driver.calls["cuMemcpyHtoDAsync"]

    first = session.copy_ms
    assert first is not None
    assert first > 0
    assert driver.calls["cuMemcpyHtoDAsync"] == before + 10
    assert session.copy_ms == first
    assert driver.calls["cuMemcpyHtoDAsync"] == before + 10

    check(engine, logits, batch)
    check(engine, session.run(batch), batch)
    session.close()


def test_an_engine_of_one_batch_size(driver: FakeDriver, manifest: Manifest) -> None:
    engine = FakeEngine(driver, manifest, (2, 2))
    session = EngineSession(engine, manifest, TENSORRT)
    assert session.batch_size == 2
    check(engine, session.run(batch_of(2)), batch_of(2))
    for count in (1, 4):
        with pytest.raises(InputError, match=r"expected float32 \[2, 3, 8, 8\]"):
            session.run(batch_of(count))
    session.close()


def test_frames_of_a_camera(driver: FakeDriver, manifest: Manifest) -> None:
    manifest = replace(manifest, input=InputEntry("frame", "uint8", "NHWC", "bgr"))
    engine = FakeEngine(driver, manifest)
    session = EngineSession(engine, manifest, TENSORRT)
    rng = np.random.default_rng(5)
    for count in (1, 4, 6, 1):
        frames = rng.integers(0, 256, (count, 8, 8, 3), dtype=np.uint8)
        check(engine, session.run(frames), frames.transpose(0, 3, 1, 2))
    with pytest.raises(InputError, match=r"expected uint8 \[B, 8, 8, 3\]"):
        session.run(batch_of(1))
    session.close()


def test_outputs_in_half_precision_come_as_float32(driver: FakeDriver, manifest: Manifest) -> None:
    engine = FakeEngine(driver, manifest, dtypes={"birds": "HALF"})
    session = EngineSession(engine, manifest, TENSORRT)
    for count in (1, 3, 4, 7):
        check(engine, session.run(batch_of(count)), batch_of(count), tolerance=4e-3)
    session.close()


def test_further_outputs_are_left_alone(driver: FakeDriver, manifest: Manifest) -> None:
    engine = FakeEngine(driver, manifest, extra={"features": 70}, dtypes={"features": "INT32"})
    session = EngineSession(engine, manifest, TENSORRT)
    for count in (1, 4, 5):
        check(engine, session.run(batch_of(count)), batch_of(count))
    session.close()


@pytest.mark.parametrize("batch", [batch_of(0), batch_of(1)[0], batch_of(1) * np.nan, [[1.0]]])
def test_other_batches_are_refused(
    session: EngineSession, engine: FakeEngine, driver: FakeDriver, batch: Any
) -> None:
    calls = driver.calls.copy()
    with pytest.raises(InputError, match=r"expected .*float32 \[B, 3, 8, 8\]"):
        session.run(batch)
    assert driver.calls == calls
    check(engine, session.run(batch_of(1)), batch_of(1))


@settings(max_examples=30)
@given(
    least=st.integers(1, 4),
    more=st.integers(0, 4),
    integrated=st.booleans(),
    capturable=st.booleans(),
    counts=st.lists(st.integers(1, 14), min_size=1, max_size=14),
)
def test_any_sequence_of_batch_sizes(  # noqa: PLR0917
    manifest: Manifest,
    least: int,
    more: int,
    integrated: bool,
    capturable: bool,
    counts: list[int],
) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        driver = FakeDriver(integrated=integrated)
        driver.install(monkeypatch)
        engine = FakeEngine(driver, manifest, (least, least + more), capturable=capturable)
        session = EngineSession(engine, manifest, TENSORRT)
        results = []
        for seed, count in enumerate(counts):
            size = session.batch_size or count
            results.append((batch_of(size, seed), session.run(batch_of(size, seed))))
        session.close()
    for batch, logits in results:
        check(engine, logits, batch)
    driver.check()
    assert driver.live() == {}


# ------------------------------------------------------------------------------------- CUDA graphs


def launches(driver: FakeDriver, session: EngineSession, count: int) -> tuple[int, int]:
    """Run a batch; return how many graphs were captured and launched for it."""
    before = driver.calls.copy()
    session.run(batch_of(count))
    done = driver.calls - before
    return done["cuStreamBeginCapture"], done["cuGraphLaunch"]


def test_a_graph_is_captured_for_each_batch_size_and_kept(
    session: EngineSession, driver: FakeDriver, engine: FakeEngine
) -> None:
    assert [launches(driver, session, count) for count in (1, 1, 3, 1, 3)] == [
        (1, 0),
        (0, 1),
        (1, 0),
        (0, 1),
        (0, 1),
    ]
    assert engine.made == 2  # a context for each graph
    assert driver.live()["GraphExec"] == 2
    assert "Graph" not in driver.live()


def test_once_captured_a_run_is_one_launch(session: EngineSession, driver: FakeDriver) -> None:
    session.run(batch_of(2))
    before = driver.calls.copy()
    session.run(batch_of(2))
    assert driver.calls - before == {
        "cuCtxPushCurrent": 1,
        "cuGraphLaunch": 1,
        "cuEventRecord": 1,
        "cuEventSynchronize": 1,
        "cuCtxPopCurrent": 1,
    }


def test_the_size_used_longest_ago_is_forgotten(driver: FakeDriver, manifest: Manifest) -> None:
    engine = FakeEngine(driver, manifest, (1, KEPT_SIZES + 1))
    session = EngineSession(engine, manifest, TENSORRT)
    for count in (*range(1, KEPT_SIZES + 1), 1, KEPT_SIZES + 1):
        session.run(batch_of(count))
    assert driver.live()["GraphExec"] == len(engine.alive) == KEPT_SIZES
    assert launches(driver, session, 1) == (0, 1)
    assert launches(driver, session, 2) == (1, 0)  # went, for 1 was used after it
    check(engine, session.run(batch_of(2)), batch_of(2))
    session.close()
    assert not engine.alive


def test_contexts_of_a_lane_share_their_working_memory(
    session: EngineSession, engine: FakeEngine, driver: FakeDriver
) -> None:
    for count in (1, 2, 3, 12):
        session.run(batch_of(count))
    assert set(engine.strategies) == {Strategy.USER_MANAGED}
    assert len(engine.streams_of_memory) == 1
    assert driver.calls["cuMemAlloc"] == 1 + 2 * 2  # and two slots' input and output


def test_an_engine_that_cannot_be_captured_runs_without_graphs(
    driver: FakeDriver, manifest: Manifest, caplog: pytest.LogCaptureFixture
) -> None:
    engine = FakeEngine(driver, manifest, capturable=False)
    session = EngineSession(engine, manifest, TENSORRT, contexts=2)
    with caplog.at_level(logging.WARNING):
        for count in (1, 2, 4, 9, 1, 2):
            check(engine, session.run(batch_of(count)), batch_of(count))
    assert caplog.text.count("without CUDA graphs") == len(caplog.records) == 1
    assert "computation of 1 pictures" in caplog.text
    assert driver.calls["cuStreamBeginCapture"] == 1
    assert engine.made <= 4  # one context a slot serves all sizes
    session.close()


def test_an_engine_that_says_that_it_cannot_be_captured_is_not_tried(
    driver: FakeDriver, manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def is_stream_capturable(_: FakeContext, stream: int) -> bool:
        asked.append(stream)
        return False

    monkeypatch.setattr(FakeContext, "is_stream_capturable", is_stream_capturable, raising=False)
    engine = FakeEngine(driver, manifest)
    session = EngineSession(engine, manifest, TENSORRT)
    for count in (1, 2, 1):
        check(engine, session.run(batch_of(count)), batch_of(count))
    assert len(asked) == 1
    assert driver.calls["cuStreamBeginCapture"] == 0
    session.close()


def test_graphs_made_before_a_refusal_still_run(
    session: EngineSession, engine: FakeEngine, driver: FakeDriver
) -> None:
    session.run(batch_of(1))
    session.run(batch_of(2))
    engine.capturable = False
    assert launches(driver, session, 3) == (1, 0)
    assert launches(driver, session, 1) == (0, 1)
    for count in (4, 2, 3, 1, 2):
        check(engine, session.run(batch_of(count)), batch_of(count))


def test_tensorrt_rtx_captures_itself(driver: FakeDriver, manifest: Manifest) -> None:
    engine = FakeEngine(driver, manifest)
    session = EngineSession(engine, manifest, TENSORRT_RTX, contexts=2)
    for count in (1, 2, 9, 1, 4):
        check(engine, session.run(batch_of(count)), batch_of(count))
    assert driver.calls["cuStreamBeginCapture"] == 0
    configs = engine.strategies
    assert 1 <= len(configs) <= 2
    assert all(isinstance(config, RuntimeConfig) for config in configs)
    assert all(it.cuda_graph_strategy.name == "WHOLE_GRAPH_CAPTURE" for it in configs)
    assert len({id(config.cache) for config in configs} - {id(None)}) == 1
    session.close()


def test_a_library_that_manages_working_memory_itself(
    driver: FakeDriver, manifest: Manifest
) -> None:
    module = type("module", (), {"TensorIOMode": TENSORRT.TensorIOMode})
    engine = FakeEngine(driver, manifest)
    session = EngineSession(engine, manifest, module)
    for count in (1, 3, 3, 1):
        check(engine, session.run(batch_of(count)), batch_of(count))
    assert driver.calls["cuMemAlloc"] == 4
    session.close()


# --------------------------------------------------------------------------------------- memory


def test_on_an_integrated_gpu_nothing_is_copied(
    monkeypatch: pytest.MonkeyPatch, manifest: Manifest
) -> None:
    driver = FakeDriver(integrated=True)
    driver.install(monkeypatch)
    engine = FakeEngine(driver, manifest)
    session = EngineSession(engine, manifest, TENSORRT)
    for count in (1, 2, 2, 9):
        check(engine, session.run(batch_of(count)), batch_of(count))
    assert not any(driver.calls[name] for name in COPIES)
    assert driver.calls["cuMemAlloc"] == 1  # working memory
    session.close()
    driver.check()
    assert driver.live() == {}


def test_memory_does_not_grow_with_the_number_of_runs(
    session: EngineSession, driver: FakeDriver
) -> None:
    for count in (1, 2, 3, 4, 9):
        session.run(batch_of(count))
    before = driver.live(), driver.calls["cuMemAlloc"], driver.calls["cuMemHostAlloc"]
    for count in (1, 9, 2, 4, 3, 9, 1):
        session.run(batch_of(count))
    after = driver.live(), driver.calls["cuMemAlloc"], driver.calls["cuMemHostAlloc"]
    assert after == before


def test_no_context_stays_current(session: EngineSession, driver: FakeDriver) -> None:
    session.run(batch_of(1))
    with pytest.raises(InputError):
        session.run(batch_of(0))
    assert not any(driver.current.values())


# --------------------------------------------------------------------------------------- threads


@pytest.mark.parametrize("contexts", [1, 2, 3])
def test_many_threads(driver: FakeDriver, manifest: Manifest, contexts: int) -> None:
    engine = FakeEngine(driver, manifest, slow_s=1e-4)
    session = EngineSession(engine, manifest, TENSORRT, contexts=contexts)

    def work(thread: int) -> None:
        rng = np.random.default_rng(thread)
        for _ in range(50 if contexts == 2 else 15):
            batch = batch_of(int(rng.integers(1, 7)), int(rng.integers(1 << 30)))
            check(engine, session.run(batch), batch)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(work, range(8)))
    assert driver.calls["cuStreamCreate"] == contexts
    assert len(engine.streams_of_memory) == contexts
    session.close()
    assert not engine.alive


def test_a_second_call_is_copied_while_the_first_one_is_computed(
    session: EngineSession, engine: FakeEngine, driver: FakeDriver
) -> None:
    inside, go_on = threading.Event(), threading.Event()
    wait = FakeDriver.cuEventSynchronize

    def wait_for_me(handle: Any) -> Any:
        if not inside.is_set():
            inside.set()
            assert go_on.wait(10)
        return wait(driver, handle)

    driver.cuEventSynchronize = wait_for_me  # type: ignore[method-assign]
    with ThreadPoolExecutor(1) as threads:
        first = threads.submit(session.run, batch_of(2, 1))
        assert inside.wait(10)
        check(engine, session.run(batch_of(2, 2)), batch_of(2, 2))
        assert not first.done()
        go_on.set()
        check(engine, first.result(10), batch_of(2, 1))


def test_work_goes_to_the_lane_with_the_least_of_it(engine: FakeEngine, manifest: Manifest) -> None:
    session = EngineSession(engine, manifest, TENSORRT, contexts=2)
    session.run(batch_of(4))
    assert len(engine.streams_of_memory) == 1
    session.run(batch_of(8))
    assert len(engine.streams_of_memory) == 2
    session.close()


def test_parts_of_a_large_batch_overlap(session: EngineSession, driver: FakeDriver) -> None:
    session.run(batch_of(12))
    order: list[str] = []
    for name in ("cuGraphLaunch", "cuEventSynchronize"):
        real = getattr(driver, name)

        def note(*arguments: Any, name: str = name, real: Any = real) -> Any:
            order.append(name[2:])
            return real(*arguments)

        setattr(driver, name, note)
    session.run(batch_of(12))
    assert order[:3] == ["GraphLaunch", "GraphLaunch", "EventSynchronize"]
    assert len(order) == 6


# ------------------------------------------------------------------------------------------- close


def test_a_closed_session_says_so(session: EngineSession, driver: FakeDriver) -> None:
    session.run(batch_of(1))
    session.close()
    session.close()
    assert driver.live() == {}
    with pytest.raises(GraphError, match=r"The engine is closed, expected an open one\. Load it"):
        session.run(batch_of(1))


def test_close_lets_go_of_the_engine(driver: FakeDriver, manifest: Manifest) -> None:
    engine = FakeEngine(driver, manifest)
    alive = weakref.ref(engine)
    session = EngineSession(engine, manifest, TENSORRT)
    session.run(batch_of(9))
    session.close()
    del engine
    assert alive() is None


def test_a_session_that_nobody_closes_frees_its_memory(
    driver: FakeDriver, engine: FakeEngine, manifest: Manifest
) -> None:
    session = EngineSession(engine, manifest, TENSORRT)
    session.run(batch_of(1))
    del session
    gc.collect()
    assert driver.live() == {}


def test_close_waits_for_the_calls_under_way(driver: FakeDriver, manifest: Manifest) -> None:
    engine = FakeEngine(driver, manifest, slow_s=2e-4)
    session = EngineSession(engine, manifest, TENSORRT, contexts=2)
    started = threading.Barrier(7)
    closed = []

    def work(seed: int) -> int:
        started.wait()
        for done in range(1000):
            batch = batch_of(1 + seed, seed + done)
            try:
                logits = session.run(batch)
            except GraphError:
                return done
            check(engine, logits, batch)
        return 1000

    with ThreadPoolExecutor(8) as threads:
        done = [threads.submit(work, seed) for seed in range(6)]
        started.wait()
        while not driver.calls["cuGraphLaunch"]:
            time.sleep(1e-3)
        closed = [threads.submit(session.close) for _ in range(2)]
        for future in closed:
            future.result(30)
        assert driver.live() == {}
        assert 0 < sum(future.result(30) for future in done) < 6000


def test_close_waits_for_a_call_that_computes_nothing() -> None:
    pool = SlotPool([])
    with ThreadPoolExecutor(1) as threads:
        with pool.call():
            drained = threads.submit(pool.drain)
            with pytest.raises(FutureTimeoutError):
                drained.result(0.05)
        drained.result(10)
    with pytest.raises(GraphError, match="closed"), pool.call():
        pytest.fail("the pool is closed")

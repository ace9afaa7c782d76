# ruff: noqa: F401, F811 - fixtures are imported, and asked for by name
from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from snow_runtime.engine.lane import Slot
from snow_runtime.engine.session import EngineSession
from snow_runtime.errors import EngineError
from tests.runtime.engine.fake_cuda import CUresult, FakeDriver
from tests.runtime.engine.fake_engine import TENSORRT, FakeContext, FakeEngine
from tests.runtime.engine.sessions import batch_of, check, driver, engine, session

if TYPE_CHECKING:
    from snow_runtime.graph.manifest import Manifest

COPIES = ("cuMemcpyHtoDAsync", "cuMemcpyDtoHAsync")
FUNCTIONS = [
    name
    for name in vars(FakeDriver)
    if name.startswith("cu") and not name.startswith("cuGetError") and name[2].isupper()
]
CAPTURES = ("cuStreamBeginCapture", "cuStreamEndCapture", "cuGraphInstantiate", "cuGraphDestroy")
COUNTS = (2, 2, 1, 3, 4, 9, 1, 2)


def use(session: EngineSession, engine: FakeEngine) -> int:
    """Run batches of many sizes, check each answer, and count how often there is none."""
    failures = 0
    for count in COUNTS:
        with suppress(EngineError):
            check(engine, session.run(batch_of(count)), batch_of(count))
            failures -= 1
    return failures + len(COUNTS)


def close(session: EngineSession) -> int:
    """Close, a second time if the first one fails, and count how often it does."""
    try:
        session.close()
    except EngineError:
        session.close()
        return 1
    return 0


@pytest.mark.parametrize("integrated", [False, True])
@pytest.mark.parametrize("function", FUNCTIONS)
def test_whatever_fails_nothing_leaks_and_no_answer_is_wrong(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    manifest: Manifest,
    function: str,
    integrated: bool,
) -> None:
    def attempt(nth: int | None) -> tuple[int, int]:
        """Fail the n-th call; return how often there was no answer, and how many calls."""
        driver = FakeDriver(integrated=integrated)
        driver.install(monkeypatch)
        engine = FakeEngine(driver, manifest, (2, 7))
        if nth is not None:
            driver.fail(function, nth)
        try:
            session = EngineSession(engine, manifest, TENSORRT)
        except EngineError:
            failures = 1
        else:
            failures = use(session, engine) + close(session)
        driver.check()
        assert driver.live() == {}
        assert not engine.alive
        return failures, driver.calls[function]

    failures, total = attempt(None)
    assert failures == 0
    for nth in range(1, total + 1):
        caplog.clear()
        failures, _ = attempt(nth)
        refused = "without CUDA graphs" in caplog.text
        assert failures + refused == 1, nth
        assert not refused or function in (*CAPTURES, *COPIES)


def test_a_call_that_fails_leaves_no_work_under_way(
    session: EngineSession, driver: FakeDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    session.run(batch_of(1))
    driver.fail("cuEventRecord")
    with pytest.raises(EngineError):
        session.run(batch_of(1))
    assert not driver.under_way()
    monkeypatch.setattr(Slot, "abandon", lambda _self: None)  # interrupted, say
    driver.fail("cuEventRecord")
    with pytest.raises(EngineError):
        session.run(batch_of(1))
    assert driver.under_way()
    session.close()  # frees nothing before the GPU is done with it


@pytest.mark.parametrize(
    "fail",
    [
        lambda engine: setattr(engine, "out_of_memory_after", engine.made),
        lambda engine: setattr(engine, "batches", (1, 3)),
        lambda engine: engine.shapes.update(birds=[8, 2]),
        lambda engine: engine.shapes.pop("birds"),
    ],
    ids=["no context", "no such shape", "another output", "no such output"],
)
def test_what_tensorrt_refuses_is_an_engine_error(
    session: EngineSession, engine: FakeEngine, fail: Any
) -> None:
    session.run(batch_of(1))
    shapes = dict(engine.shapes)
    fail(engine)
    with pytest.raises(EngineError, match=r"expected .*\. [A-Z]"):
        session.run(batch_of(4))
    engine.shapes, engine.batches, engine.out_of_memory_after = shapes, (1, 4), None
    check(engine, session.run(batch_of(4)), batch_of(4))


def test_a_computation_that_does_not_start(
    session: EngineSession, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(FakeContext, "execute_async_v3", lambda _self, _stream: False)
        with pytest.raises(EngineError, match="did not start the computation of 3 pictures"):
            session.run(batch_of(3))
    check(engine, session.run(batch_of(3)), batch_of(3))


def test_a_gpu_that_is_lost_fails_each_call_and_still_closes(
    session: EngineSession, engine: FakeEngine, driver: FakeDriver
) -> None:
    session.run(batch_of(1))
    for function in ("cuGraphLaunch", "cuEventSynchronize"):
        driver.fail(function, error=CUresult.CUDA_ERROR_ILLEGAL_ADDRESS)
        with pytest.raises(EngineError, match="start it anew"):
            session.run(batch_of(1))
    check(engine, session.run(batch_of(1)), batch_of(1))


# ---------------------------------------------------------------------------- unsuitable engines


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dtypes": {"food": "INT32"}}, r"not of its manifest.*'food' int32.*build-engine"),
        ({"dtypes": {"food": "BF16"}}, r"'food' is of type BF16, expected one of FLOAT, HALF"),
        ({"dtypes": {"image": "HALF"}}, r"not of its manifest.*'image' float16"),
        ({"shape": ("food", [-1, 5])}, r"not of its manifest.*'food' float32 \[any, 5\]"),
        ({"shape": ("image", [-1, 3, 9, 9])}, r"not of its manifest.*\[any, 3, 9, 9\]"),
        (
            {"shape": ("birds", [3, 2])},
            r"output 'birds' has the shape \[3, 2\], expected the",
        ),
        ({"shape": ("more", [-1, -1])}, r"output 'more' has the shape \[-1, -1\], expected"),
    ],
)
def test_engines_that_do_not_suit_are_refused(
    driver: FakeDriver, manifest: Manifest, change: dict[str, Any], message: str
) -> None:
    engine = FakeEngine(driver, manifest, dtypes=change.get("dtypes"), extra={"more": 1})
    engine.shapes.update([change.get("shape", ("more", [-1, 1]))])
    with pytest.raises(EngineError, match=message):
        EngineSession(engine, manifest, TENSORRT)


def test_no_lanes_are_no_session(engine: FakeEngine, manifest: Manifest) -> None:
    with pytest.raises(ValueError, match="in 0 contexts: expected 1 or more"):
        EngineSession(engine, manifest, TENSORRT, contexts=0)


def test_another_gpu(engine: FakeEngine, manifest: Manifest) -> None:
    with pytest.raises(EngineError, match="Cannot find GPU 3"):
        EngineSession(engine, manifest, TENSORRT, device=3)


# ------------------------------------------------------------------------------ the stand-in itself


def test_all_versions_offer_what_is_used() -> None:
    surfaces = list(Path(__file__).with_name("surfaces").glob("tensorrt*.json"))
    assert surfaces
    of_engine = {"num_io_tensors", "device_memory_size_v2", "create_execution_context"}
    of_engine |= {name for name in vars(FakeEngine) if name.startswith("get_")}
    of_context = {name for name in vars(FakeContext) if not name.startswith("_")}
    assert len(of_engine) > 6
    assert len(of_context) > 4
    for path in surfaces:
        surface = json.loads(path.read_text())
        assert of_engine <= set(surface["classes"]["ICudaEngine"]), path
        assert of_context <= set(surface["classes"]["IExecutionContext"]), path
        config = set(surface["classes"].get("IRuntimeConfig", ()))
        captures_itself = {"cuda_graph_strategy", "create_runtime_cache", "set_runtime_cache"}
        assert captures_itself <= config or not captures_itself & config, path

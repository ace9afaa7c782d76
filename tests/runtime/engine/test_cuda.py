from __future__ import annotations

import re
import sys
import threading
from typing import TYPE_CHECKING

import numpy as np
import pytest

from snow_runtime.engine.cuda import (
    CapturedGraph,
    DeviceBuffer,
    Event,
    PinnedBuffer,
    PrimaryContext,
    Stream,
    call,
)
from snow_runtime.engine.transfer import TransferBuffer
from snow_runtime.errors import EngineError, MissingDependencyError
from snow_runtime.install_hint import pip_install
from snow_runtime.machine.driver import gpu_here
from tests.runtime.engine.fake_cuda import CUresult, FakeDriver
from tests.runtime.engine.fake_gpu import Work

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeDriver]:
    """Give a driver that nobody uses yet."""
    fake = FakeDriver()
    fake.install(monkeypatch)
    yield fake
    fake.check()
    assert fake.live() == {}


@pytest.fixture
def driver(bare: FakeDriver) -> Iterator[FakeDriver]:
    """Give a driver whose context is current."""
    with PrimaryContext() as context, context.current():
        yield bare


def test_an_error_says_what_failed_and_what_to_do(driver: FakeDriver) -> None:
    driver.fail("cuMemAlloc", error=CUresult.CUDA_ERROR_OUT_OF_MEMORY)
    with pytest.raises(
        EngineError,
        match=r"^Cannot allocate 64 B of GPU memory: cuMemAlloc gives CUDA_ERROR_OUT_OF_MEMORY "
        r"\(out of memory\)\. Close other programs",
    ):
        DeviceBuffer(64)
    driver.fail("cuStreamCreate")
    with pytest.raises(EngineError, match=r"Cannot make a stream: .*UNKNOWN.*snow-deploy doctor"):
        Stream()
    with Event() as event, Stream() as stream:
        event.record(stream)
        driver.fail("cuEventSynchronize", error=CUresult.CUDA_ERROR_ILLEGAL_ADDRESS)
        with pytest.raises(EngineError, match=r"ILLEGAL_ADDRESS.*start it anew"):
            event.wait()


def test_a_gpu_that_is_not_there(bare: FakeDriver) -> None:
    with pytest.raises(EngineError, match=r"Cannot find GPU 1: .*INVALID_DEVICE"):
        PrimaryContext(1)
    assert bare.live() == {}


def test_without_cuda_bindings_the_message_holds_the_pip_commands(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "cuda.bindings", None)
    with pytest.raises(
        MissingDependencyError,
        match=".*".join(re.escape(pip_install(extra)) for extra in ("tensorrt", "jetson")),
    ):
        PrimaryContext()


@pytest.mark.skipif(gpu_here() is not None, reason="there is a driver")
def test_without_a_driver_the_real_bindings_give_an_engine_error() -> None:
    pytest.importorskip("cuda.bindings.driver")
    with pytest.raises(
        EngineError,
        match=r"Cannot start the NVIDIA driver: .*expected a driver.*snow-deploy doctor",
    ):
        PrimaryContext()


def test_the_stand_in_has_the_real_functions() -> None:
    real = pytest.importorskip("cuda.bindings.driver")
    functions = [name for name in vars(FakeDriver) if re.fullmatch(r"cu[A-Z]\w+", name)]
    assert len(functions) > 25
    for name in functions:
        expected = getattr(FakeDriver, name).__wrapped__ if name[2:8] != "GetErr" else None
        signature = getattr(real, name).__doc__.splitlines()[0]
        inside = signature[signature.index("(") + 1 : signature.rindex(")")]
        if expected is not None:
            assert expected.__code__.co_argcount - 1 == len(inside.split(",")) * bool(inside), name
    for name in ("CUdevice_attribute", "CUstream_flags", "CUevent_flags", "CUstreamCaptureMode"):
        for member in getattr(FakeDriver, name):
            assert int(getattr(getattr(real, name), member.name)) == member.value
    assert real.CU_MEMHOSTALLOC_DEVICEMAP == FakeDriver.CU_MEMHOSTALLOC_DEVICEMAP
    for status in CUresult:
        assert int(getattr(real.CUresult, status.name)) == status.value


# --------------------------------------------------------------------------------------- context


def test_the_context_is_current_within_the_block_only(bare: FakeDriver) -> None:
    context = PrimaryContext()
    stack = bare.current[threading.get_ident()]
    assert stack == []
    with context.current(), context.current():
        assert len(stack) == 2
    with pytest.raises(ZeroDivisionError), context.current():
        _ = 1 / 0
    assert stack == []
    bare.fail("cuCtxPushCurrent")
    with pytest.raises(EngineError, match="use the GPU in this thread"), context.current():
        pytest.fail("the block must not run")
    assert stack == []
    context.close()
    context.close()
    assert context.closed
    assert bare.live() == {}


@pytest.mark.parametrize("integrated", [False, True])
def test_a_gpu_says_whether_it_shares_the_machines_memory(
    monkeypatch: pytest.MonkeyPatch, integrated: bool
) -> None:
    FakeDriver(integrated=integrated).install(monkeypatch)
    with PrimaryContext() as context:
        assert context.maps_host_memory is integrated


@pytest.mark.parametrize(
    "function", ["cuInit", "cuDeviceGet", "cuDeviceGetAttribute", "cuDevicePrimaryCtxRetain"]
)
def test_a_context_that_fails_to_open_leaves_nothing(bare: FakeDriver, function: str) -> None:
    bare.fail(function)
    with pytest.raises(EngineError):
        PrimaryContext()
    assert bare.live() == {}


# --------------------------------------------------------------------------- things that are freed


MAKERS: dict[str, Callable[[], Stream | Event | DeviceBuffer | PinnedBuffer | TransferBuffer]] = {
    "stream": Stream,
    "event": Event,
    "device": lambda: DeviceBuffer(8),
    "pinned": lambda: PinnedBuffer(8),
    "mapped": lambda: PinnedBuffer(8, mapped=True),
    "both": lambda: TransferBuffer(8, mapped=False),
    "one": lambda: TransferBuffer(8, mapped=True),
}


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_everything_is_freed_once(driver: FakeDriver, make: Callable[[], Stream]) -> None:
    before = driver.live()
    thing = make()
    assert driver.live() != before
    thing.close()
    thing.close()  # a second call would be refused by the stand-in
    with pytest.raises(ZeroDivisionError), make():
        _ = 1 / 0
    assert driver.live() == before


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_a_thing_that_fails_to_be_made_leaves_nothing(
    driver: FakeDriver, make: Callable[[], Stream]
) -> None:
    before = driver.live()
    calls = driver.calls.copy()
    make().close()
    needed = driver.calls - calls
    frees = ("cuStreamDestroy", "cuEventDestroy", "cuMemFree", "cuMemFreeHost")
    for function, count in needed.items():
        for nth in range(1, count + 1):
            driver.fail(function, nth)
            if function in frees:
                thing = make()
                with pytest.raises(EngineError, match="Cannot free the"):
                    thing.close()
                thing.close()
            else:
                with pytest.raises(EngineError):
                    make()
            assert driver.live() == before


@pytest.mark.usefixtures("driver")
def test_a_thing_that_is_freed_is_not_used() -> None:
    stream = Stream()
    stream.close()
    with pytest.raises(EngineError, match="stream is freed already, expected one in use"):
        stream.synchronize()


# ------------------------------------------------------------------------------------------ work


def test_memory_travels_to_the_gpu_and_back(driver: FakeDriver) -> None:
    with Stream() as stream, TransferBuffer(16, mapped=False) as buffer:
        buffer.array[:] = np.arange(16)
        buffer.upload(stream, 12)
        buffer.array[:4] = 99  # before the copy is made: it is what arrives
        stream.synchronize()
        assert list(driver.see(buffer.address, 16)) == [99] * 4 + [*range(4, 12)] + [255] * 4
        driver.see(buffer.address, 16)[:] = 7
        buffer.download(stream, 8)
        assert buffer.array[0] == 99
        stream.synchronize()
        assert list(buffer.array) == [7] * 8 + [*range(8, 16)]


def test_mapped_memory_is_the_gpus_and_never_copied(driver: FakeDriver) -> None:
    with Stream() as stream, TransferBuffer(4, mapped=True) as buffer:
        buffer.array[:] = 5
        buffer.upload(stream, 4)
        assert list(driver.see(buffer.address, 4)) == [5] * 4
        driver.see(buffer.address, 4)[:] = 6
        buffer.download(stream, 4)
        assert list(buffer.array) == [6] * 4
    assert not [name for name in driver.calls if "cpy" in name or name == "cuMemAlloc"]


def test_an_event_waits_for_what_was_before_it(driver: FakeDriver) -> None:
    done: list[int] = []
    with Stream() as stream, Event() as event:
        driver.put(stream, Work(lambda: done.append(1)))
        event.record(stream)
        driver.put(stream, Work(lambda: done.append(2)))
        assert done == []
        event.wait()
        assert done == [1]
        stream.synchronize()
    assert done == [1, 2]


# ---------------------------------------------------------------------------------------- graphs


def test_captured_work_is_done_at_each_launch(driver: FakeDriver) -> None:
    done: list[int] = []
    with Stream() as stream:
        with CapturedGraph(
            stream, lambda: driver.put(stream, Work(lambda: done.append(1)))
        ) as graph:
            stream.synchronize()
            assert done == []
            graph.launch(stream)
            graph.launch(stream)
            stream.synchronize()
        assert done == [1, 1]
        graph.close()


@pytest.mark.parametrize(
    "function",
    ["cuStreamBeginCapture", "cuStreamEndCapture", "cuGraphInstantiate", "cuGraphDestroy"],
)
def test_a_capture_that_fails_leaves_nothing_and_a_stream_that_works(
    driver: FakeDriver, function: str
) -> None:
    done: list[int] = []
    with Stream() as stream:
        before = driver.live()

        def work() -> None:
            driver.put(stream, Work(lambda: done.append(1)))

        driver.fail(function)
        with pytest.raises(EngineError):
            CapturedGraph(stream, work)
        assert driver.live() == before
        work()
        stream.synchronize()
    assert done == [1]


@pytest.mark.parametrize("valid", [True, False])
def test_work_that_raises_while_it_is_captured(driver: FakeDriver, valid: bool) -> None:
    with Stream() as stream:
        before = driver.live()

        def work() -> None:
            driver.stream(stream).valid = valid
            msg = "mine"
            raise EngineError(msg)

        with pytest.raises(EngineError, match="mine"):
            CapturedGraph(stream, work)
        assert driver.live() == before
        stream.synchronize()


@pytest.mark.usefixtures("driver")
def test_a_call_gives_what_the_driver_gives() -> None:
    assert call("ask", "cuDeviceGet", 0) == 7
    assert call("ask", "cuInit", 0) is None

# ruff: noqa: N801, N802 - the names are NVIDIA's
"""A stand-in of `cuda.bindings.driver` that is strict about what the real driver forgives.

Memory is the machine's, but the GPU's addresses are not Python's. Work in a stream is done when
somebody waits for it and not before, so that a wait that is missing, or a buffer that is used again
too early, gives wrong numbers.
"""

from __future__ import annotations

import functools
import sys
import threading
from collections import Counter
from enum import IntEnum
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from tests.runtime.engine.fake_gpu import (
    GPU,
    Event,
    FakeGpu,
    Graph,
    GraphExec,
    Handle,
    Stream,
    Work,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest


class CUresult(IntEnum):
    CUDA_SUCCESS = 0
    CUDA_ERROR_INVALID_VALUE = 1
    CUDA_ERROR_OUT_OF_MEMORY = 2
    CUDA_ERROR_INVALID_DEVICE = 101
    CUDA_ERROR_ILLEGAL_ADDRESS = 700
    CUDA_ERROR_STREAM_CAPTURE_INVALIDATED = 901
    CUDA_ERROR_UNKNOWN = 999


class CUdevice_attribute(IntEnum):
    CU_DEVICE_ATTRIBUTE_INTEGRATED = 18
    CU_DEVICE_ATTRIBUTE_CAN_MAP_HOST_MEMORY = 19


class CUstream_flags(IntEnum):
    CU_STREAM_DEFAULT = 0
    CU_STREAM_NON_BLOCKING = 1


class CUevent_flags(IntEnum):
    CU_EVENT_DISABLE_TIMING = 2


class CUstreamCaptureMode(IntEnum):
    CU_STREAM_CAPTURE_MODE_GLOBAL = 0
    CU_STREAM_CAPTURE_MODE_THREAD_LOCAL = 1
    CU_STREAM_CAPTURE_MODE_RELAXED = 2


class RefusedError(Exception):
    """A call that the driver answers with an error."""


_NEED_NO_CONTEXT = ("cuInit", "cuDevice", "cuCtxPush")
_UNSAFE_IN_CAPTURE = ("cuMemAlloc", "cuMemFree", "cuMemHostAlloc", "Synchronize")
_AFTERWARDS = ("Destroy", "Free", "Pop", "Release", "Synchronize", "EndCapture")
"""Calls that, if they fail, tell of earlier work: what they are for is done all the same."""


def entry(function: Callable[..., Any]) -> Callable[..., tuple[Any, ...]]:
    """Make a method one of the driver's functions: counted, checked, its status in front."""
    name = function.__name__

    @functools.wraps(function)
    def answer(self: FakeDriver, *arguments: Any) -> tuple[Any, ...]:
        with self.lock:
            self.calls[name] += 1
            fails = self.failing == (name, self.calls[name])
            if fails and not any(part in name for part in _AFTERWARDS):
                return self.error, None
            if not name.startswith(_NEED_NO_CONTEXT):
                self.need_context(name)
            if any(part in name for part in _UNSAFE_IN_CAPTURE) and self.captures_here():
                self.refuse(f"{name} in a thread that captures")
            try:
                value = function(self, *arguments)
            except RefusedError as error:
                return error.args[0], None
            status = self.error if fails else CUresult.CUDA_SUCCESS
            return (status,) if value is None else (status, None if fails else value)

    return answer


class FakeDriver(FakeGpu):
    """The module, for a machine with one GPU.

    Args:
        integrated: Whether the GPU shares the machine's memory.
    """

    CUdevice_attribute = CUdevice_attribute
    CUstream_flags = CUstream_flags
    CUevent_flags = CUevent_flags
    CUstreamCaptureMode = CUstreamCaptureMode
    CU_MEMHOSTALLOC_DEVICEMAP = 2

    def __init__(self, *, integrated: bool = False) -> None:
        super().__init__()
        self.integrated = integrated
        self.calls: Counter[str] = Counter()
        self.failing: tuple[str, int] | None = None
        self.error = CUresult.CUDA_ERROR_UNKNOWN

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Take the place of cuda-bindings."""
        monkeypatch.setitem(sys.modules, "cuda.bindings", SimpleNamespace(driver=self))

    def fail(
        self, function: str, nth: int = 1, error: CUresult = CUresult.CUDA_ERROR_UNKNOWN
    ) -> None:
        """Let the n-th call from now on fail."""
        self.failing = (function, self.calls[function] + nth)
        self.error = error

    def cuGetErrorName(self, status: CUresult) -> tuple[CUresult, bytes]:
        return CUresult.CUDA_SUCCESS, status.name.encode()

    def cuGetErrorString(self, status: CUresult) -> tuple[CUresult, bytes]:
        return CUresult.CUDA_SUCCESS, status.name[11:].lower().replace("_", " ").encode()

    # ------------------------------------------------------------------------- device and context

    @entry
    def cuInit(self, flags: int) -> None:
        assert flags == 0

    @entry
    def cuDeviceGet(self, ordinal: int) -> int:
        if ordinal != 0:
            raise RefusedError(CUresult.CUDA_ERROR_INVALID_DEVICE)
        return 7

    @entry
    def cuDeviceGetAttribute(self, attribute: int, device: int) -> int:
        assert device == 7
        integrated = attribute == CUdevice_attribute.CU_DEVICE_ATTRIBUTE_INTEGRATED
        return int(self.integrated) if integrated else 1

    @entry
    def cuDevicePrimaryCtxRetain(self, device: int) -> str:
        assert device == 7
        self.retained += 1
        return "primary"

    @entry
    def cuDevicePrimaryCtxRelease(self, device: int) -> None:
        assert device == 7
        self.retained -= 1
        if self.retained < 0:
            self.refuse("the context is released twice")

    @entry
    def cuCtxPushCurrent(self, context: str) -> None:
        if context != "primary" or not self.retained:
            self.refuse("a context is used that is not retained")
        self.current[threading.get_ident()].append(context)

    @entry
    def cuCtxPopCurrent(self) -> str:
        return self.current[threading.get_ident()].pop()

    # --------------------------------------------------------------------------- streams, events

    @entry
    def cuStreamCreate(self, flags: int) -> Handle:
        if flags != CUstream_flags.CU_STREAM_NON_BLOCKING:
            self.refuse("a stream that waits for the default one")
        return self.add(Stream())

    @entry
    def cuStreamSynchronize(self, handle: Handle) -> None:
        stream = self.stream(handle)
        if stream.captured is not None:
            self.refuse("a stream is waited for while it captures")
        self.finish(stream, stream.put)

    @entry
    def cuStreamDestroy(self, handle: Handle) -> None:
        if self.stream(handle).waiting:
            self.refuse("a stream is destroyed with work under way")
        self.remove(handle, Stream)

    @entry
    def cuEventCreate(self, flags: int) -> Handle:
        assert flags == CUevent_flags.CU_EVENT_DISABLE_TIMING
        return self.add(Event())

    @entry
    def cuEventRecord(self, handle: Handle, stream_handle: Handle) -> None:
        event, stream = self.get(handle, Event), self.stream(stream_handle)
        if stream.captured is not None:
            self.refuse("an event is recorded while its stream captures")
        event.stream, event.put = stream, stream.put

    @entry
    def cuEventSynchronize(self, handle: Handle) -> None:
        event = self.get(handle, Event)
        if event.stream is None:
            self.refuse("an event is waited for that was never recorded")
        self.finish(event.stream, event.put)

    @entry
    def cuEventDestroy(self, handle: Handle) -> None:
        self.remove(handle, Event)

    # ------------------------------------------------------------------------------------ memory

    @entry
    def cuMemAlloc(self, size_bytes: int) -> Handle:
        return Handle(self.allocate(size_bytes))

    @entry
    def cuMemFree(self, address: Handle) -> None:
        if int(address) - GPU in self.pinned:
            self.refuse("pinned memory is freed as the GPU's own")
        self.release(int(address))

    @entry
    def cuMemHostAlloc(self, size_bytes: int, flags: int) -> int:
        pointer = self.allocate(size_bytes) - GPU
        self.pinned[pointer] = flags == self.CU_MEMHOSTALLOC_DEVICEMAP
        return pointer

    @entry
    def cuMemHostGetDevicePointer(self, pointer: int, flags: int) -> Handle:
        assert flags == 0
        if not self.pinned[pointer]:
            raise RefusedError(CUresult.CUDA_ERROR_INVALID_VALUE)
        return Handle(pointer + GPU)

    @entry
    def cuMemFreeHost(self, pointer: int) -> None:
        if pointer not in self.pinned:
            self.refuse("pinned memory is freed that is not there")
        self.release(pointer + GPU)
        del self.pinned[pointer]

    @entry
    def cuMemcpyHtoDAsync(self, target: int, source: int, size_bytes: int, stream: Handle) -> None:
        def copy() -> None:
            self.see(target, size_bytes)[:] = self.see_pinned(source, size_bytes)

        self.see_pinned(source, size_bytes)
        self.put(stream, Work(copy, (target, target + size_bytes - 1, source + GPU)))

    @entry
    def cuMemcpyDtoHAsync(self, target: int, source: int, size_bytes: int, stream: Handle) -> None:
        def copy() -> None:
            self.see_pinned(target, size_bytes)[:] = self.see(source, size_bytes)

        self.see_pinned(target, size_bytes)
        self.put(stream, Work(copy, (source, source + size_bytes - 1, target + GPU)))

    # ------------------------------------------------------------------------------------ graphs

    @entry
    def cuStreamBeginCapture(self, handle: Handle, mode: IntEnum) -> None:
        stream = self.stream(handle)
        if mode != CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL:
            self.refuse(f"{mode!r} disturbs other threads or hides mistakes")
        if stream.captured is not None:
            self.refuse("a capture begins within another")
        stream.captured, stream.thread, stream.valid = [], threading.get_ident(), True

    @entry
    def cuStreamEndCapture(self, handle: Handle) -> Handle:
        stream = self.stream(handle)
        captured, stream.captured = stream.captured, None
        if captured is None or stream.thread != threading.get_ident():
            self.refuse("a capture ends that did not begin in this thread")
        if self.failing == ("cuStreamEndCapture", self.calls["cuStreamEndCapture"]):
            raise RefusedError(self.error)  # and there is no graph to be freed
        if not stream.valid:
            raise RefusedError(CUresult.CUDA_ERROR_STREAM_CAPTURE_INVALIDATED)
        return self.add(Graph(captured))

    @entry
    def cuGraphInstantiate(self, graph: Handle, flags: int) -> Handle:
        assert flags == 0
        return self.add(GraphExec(self.get(graph, Graph).work))

    @entry
    def cuGraphDestroy(self, graph: Handle) -> None:
        self.remove(graph, Graph)

    @entry
    def cuGraphLaunch(self, graph: Handle, stream: Handle) -> None:
        for work in self.get(graph, GraphExec).work:
            if complaint := work.complaint():
                self.refuse(f"a graph is launched although {complaint}")
            self.put(stream, work)

    @entry
    def cuGraphExecDestroy(self, graph: Handle) -> None:
        self.remove(graph, GraphExec)

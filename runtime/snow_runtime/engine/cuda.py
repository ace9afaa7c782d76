"""The CUDA driver through NVIDIA's cuda-bindings: every call checked, everything freed once.

What is made here frees itself at `close` or at the end of a `with` block, once, and needs a context
that is current (:meth:`PrimaryContext.current`) for that as for every use. Nothing here touches the
default stream, which waits for all others.
"""

from __future__ import annotations

import contextlib
import ctypes
from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np

from snow_runtime.closing import Closing
from snow_runtime.errors import EngineError, MissingDependencyError
from snow_runtime.install_hint import pip_install

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

_DOCTOR: Final = "'snow-deploy doctor' says what of this machine works."
_OUT_OF_MEMORY: Final = (
    "Close other programs that use the GPU, or take fewer contexts or an engine of a smaller "
    "--max-batch."
)
_LOST: Final = "No call of this process reaches the GPU any more: start it anew."
_ADVICE: Final = {
    "CUDA_ERROR_OUT_OF_MEMORY": _OUT_OF_MEMORY,
    "CUDA_ERROR_ILLEGAL_ADDRESS": _LOST,
    "CUDA_ERROR_ILLEGAL_INSTRUCTION": _LOST,
    "CUDA_ERROR_LAUNCH_FAILED": _LOST,
    "CUDA_ERROR_LAUNCH_TIMEOUT": _LOST,
    "CUDA_ERROR_MISALIGNED_ADDRESS": _LOST,
}


def load_driver() -> Any:
    """Import NVIDIA's bindings of the driver.

    Raises:
        MissingDependencyError: They are not installed.
    """
    try:
        from cuda.bindings import driver
    except ImportError as error:
        msg = (
            f"NVIDIA's cuda-bindings run engines and cannot be imported: {error}. Install them: "
            f"{pip_install('tensorrt')} (on Jetson: {pip_install('jetson')})."
        )
        raise MissingDependencyError(msg) from error
    return driver


def call(doing: str, function: str, *arguments: Any) -> Any:
    """Call the driver and check what it says.

    Args:
        doing: What for, to go on from "Cannot".
        function: Its name, such as `cuMemAlloc`.
        arguments: Its arguments.

    Returns:
        What it gives beside its status; None if that is nothing.

    Raises:
        EngineError: It failed, or there is no driver.
        MissingDependencyError: The package cuda-bindings is not installed.
    """
    driver = load_driver()
    try:
        status, *values = getattr(driver, function)(*arguments)
    except RuntimeError as error:  # cuda-bindings do not find libcuda, or a function in it
        reason = str(error).strip().rstrip(".")
        msg = f"Cannot {doing}: {reason}, expected a driver of NVIDIA's. {_DOCTOR}"
        raise EngineError(msg) from error
    if int(status) != 0:
        name = _text(driver.cuGetErrorName(status), f"error {int(status)}")
        meaning = _text(driver.cuGetErrorString(status), "unknown")
        advice = _ADVICE.get(name, _DOCTOR)
        msg = f"Cannot {doing}: {function} gives {name} ({meaning}). {advice}"
        raise EngineError(msg)
    return values[0] if values else None


class PrimaryContext(Closing):
    """The context that a GPU's users share: TensorRT's own CUDA runtime, PyTorch and this.

    Args:
        device: The GPU, as CUDA counts them.

    Attributes:
        maps_host_memory: Whether the GPU shares the machine's memory, as a Jetson's does, and
            computes on pinned memory where it lies.

    Raises:
        EngineError: There is no such GPU, or no driver.
        MissingDependencyError: The package cuda-bindings is not installed.
    """

    def __init__(self, device: int = 0) -> None:
        call("start the NVIDIA driver", "cuInit", 0)
        self._device = call(f"find GPU {device}", "cuDeviceGet", device)
        kind = load_driver().CUdevice_attribute
        self.maps_host_memory = all(
            call(f"ask GPU {device} about its memory", "cuDeviceGetAttribute", it, self._device)
            for it in (
                kind.CU_DEVICE_ATTRIBUTE_INTEGRATED,
                kind.CU_DEVICE_ATTRIBUTE_CAN_MAP_HOST_MEMORY,
            )
        )
        self._handle = call(f"open GPU {device}", "cuDevicePrimaryCtxRetain", self._device)

    @property
    def closed(self) -> bool:
        """Whether the context is given back."""
        return self._handle is None

    @contextlib.contextmanager
    def current(self) -> Iterator[None]:
        """Make it the calling thread's context within a `with` block, and no longer."""
        call("use the GPU in this thread", "cuCtxPushCurrent", self._handle)
        try:
            yield
        finally:
            call("leave the GPU to other users", "cuCtxPopCurrent")

    def close(self) -> None:
        """Give it back; with its last user it goes."""
        handle, self._handle = self._handle, None
        if handle is not None:
            call("give the GPU back", "cuDevicePrimaryCtxRelease", self._device)


class _Owned(Closing):
    """A handle of the driver's that is freed once, whatever freeing it says."""

    _free: ClassVar[str]
    _what: ClassVar[str]

    def __init__(self, handle: Any) -> None:
        self._handle = handle

    @property
    def handle(self) -> Any:
        if self._handle is None:
            msg = f"The {self._what} is freed already, expected one in use."
            raise EngineError(msg)
        return self._handle

    def close(self) -> None:
        """Free it; a second time does nothing."""
        handle, self._handle = self._handle, None
        if handle is not None:
            call(f"free the {self._what}", self._free, handle)


class Stream(_Owned):
    """A queue of work for the GPU, which waits for no other."""

    _free, _what = "cuStreamDestroy", "stream"

    def __init__(self) -> None:
        flags = int(load_driver().CUstream_flags.CU_STREAM_NON_BLOCKING)
        super().__init__(call("make a stream", "cuStreamCreate", flags))

    def __int__(self) -> int:
        return int(self.handle)

    def synchronize(self) -> None:
        """Wait until all its work is done."""
        call("wait for the GPU", "cuStreamSynchronize", self.handle)


class Event(_Owned):
    """A point in a stream's work that can be waited for."""

    _free, _what = "cuEventDestroy", "event"

    def __init__(self) -> None:
        flags = int(load_driver().CUevent_flags.CU_EVENT_DISABLE_TIMING)
        super().__init__(call("make an event", "cuEventCreate", flags))

    def record(self, stream: Stream) -> None:
        """Move it behind all the work that the stream has now."""
        call("mark the end of the work", "cuEventRecord", self.handle, stream.handle)

    def wait(self) -> None:
        """Wait until the work before it is done."""
        call("wait for the GPU", "cuEventSynchronize", self.handle)


class DeviceBuffer(_Owned):
    """Memory of the GPU's own.

    Args:
        size_bytes: How much, above 0.
    """

    _free, _what = "cuMemFree", "GPU memory"

    def __init__(self, size_bytes: int) -> None:
        super().__init__(call(f"allocate {size_bytes} B of GPU memory", "cuMemAlloc", size_bytes))
        self.size_bytes = size_bytes

    @property
    def address(self) -> int:
        """Where the GPU finds it."""
        return int(self.handle)


class PinnedBuffer(_Owned):
    """Memory of the machine's that is never swapped, so that the GPU copies from and to it.

    Args:
        size_bytes: How much, above 0.
        mapped: Whether the GPU shall also compute on it where it lies.

    Attributes:
        array: Its bytes, `[size_bytes]`; not to be used after `close`.
        address: Where the GPU finds it; None unless mapped.
    """

    _free, _what = "cuMemFreeHost", "pinned memory"

    def __init__(self, size_bytes: int, *, mapped: bool = False) -> None:
        flags = int(load_driver().CU_MEMHOSTALLOC_DEVICEMAP) if mapped else 0
        doing = f"allocate {size_bytes} B of pinned memory"
        super().__init__(call(doing, "cuMemHostAlloc", size_bytes, flags))
        self.address: int | None = None
        if mapped:
            try:
                self.address = int(call(doing, "cuMemHostGetDevicePointer", self._handle, 0))
            except BaseException:
                self.close()
                raise
        memory = (ctypes.c_uint8 * size_bytes).from_address(int(self._handle))
        self.array: NDArray[np.uint8] = np.ctypeslib.as_array(memory)


class CapturedGraph(_Owned):
    """Work recorded from a stream, to be launched again at the price of one launch.

    Args:
        stream: The stream that `work` puts its work into; none of it is done now.
        work: Puts work into the stream, from memory and into memory that stays where it is.

    Raises:
        EngineError: Some of the work cannot be recorded. The stream is as before.
    """

    _free, _what = "cuGraphExecDestroy", "CUDA graph"

    def __init__(self, stream: Stream, work: Callable[[], None]) -> None:
        super().__init__(None)
        try:
            with _Recording(stream, work) as recording:
                self._handle = call(
                    "compile a CUDA graph", "cuGraphInstantiate", recording.handle, 0
                )
        except BaseException:
            self.close()
            raise

    def launch(self, stream: Stream) -> None:
        """Put the recorded work into a stream."""
        call("launch the CUDA graph", "cuGraphLaunch", self.handle, stream.handle)


class _Recording(_Owned):
    """What a stream was given, not yet to be launched."""

    _free, _what = "cuGraphDestroy", "recorded work"

    def __init__(self, stream: Stream, work: Callable[[], None]) -> None:
        super().__init__(None)
        # Of this thread alone: others may allocate meanwhile, for other lanes or other libraries.
        mode = load_driver().CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL
        call("record work for the GPU", "cuStreamBeginCapture", stream.handle, mode)
        try:
            work()
        except BaseException:
            with contextlib.suppress(EngineError):  # the work's own error says more
                self._end(stream)
                self.close()
            raise
        self._end(stream)

    def _end(self, stream: Stream) -> None:
        self._handle = call("record work for the GPU", "cuStreamEndCapture", stream.handle)


def _text(answer: tuple[Any, bytes | None], otherwise: str) -> str:
    text = answer[1]
    return text.decode("ascii", "replace") if text else otherwise

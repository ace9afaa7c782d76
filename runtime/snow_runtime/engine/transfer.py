"""Memory through which pictures reach the GPU and logits come back."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from snow_runtime.closing import Closing
from snow_runtime.engine.cuda import DeviceBuffer, PinnedBuffer, call

if TYPE_CHECKING:
    from snow_runtime.engine.cuda import Stream


class TransferBuffer(Closing):
    """Pinned memory for Python and its counterpart for the GPU, which may be the same memory.

    Args:
        size_bytes: How much, above 0.
        mapped: Whether the GPU computes on the pinned memory itself, so that nothing is copied.

    Attributes:
        array: What Python reads and writes, uint8 `[size_bytes]`.
        address: Where the GPU reads and writes.
    """

    def __init__(self, size_bytes: int, *, mapped: bool) -> None:
        with ExitStack() as stack:
            self._pinned = stack.enter_context(PinnedBuffer(size_bytes, mapped=mapped))
            self.array = self._pinned.array
            self._copied = self._pinned.address is None
            self.address = (
                stack.enter_context(DeviceBuffer(size_bytes)).address
                if self._pinned.address is None
                else self._pinned.address
            )
            self._stack = stack.pop_all()

    def upload(self, stream: Stream, size_bytes: int) -> None:
        """Let the GPU have the first bytes, once the stream's work gets there."""
        if self._copied:
            ends = (self.address, int(self._pinned.handle))
            doing = "copy pictures to the GPU"
            call(doing, "cuMemcpyHtoDAsync", *ends, size_bytes, stream.handle)

    def download(self, stream: Stream, size_bytes: int) -> None:
        """Fetch the first bytes, once the stream's work gets there."""
        if self._copied:
            ends = (int(self._pinned.handle), self.address)
            doing = "copy logits from the GPU"
            call(doing, "cuMemcpyDtoHAsync", *ends, size_bytes, stream.handle)

    def close(self) -> None:
        """Free both; `array` is not to be used any more."""
        self._stack.close()

"""Lanes: streams in which an engine computes one batch after the other.

A lane has two slots, sets of buffers: while the GPU computes the batch in one, the other is filled
or read. What a slot runs at one batch size is an execution: an execution context and its CUDA
graph. NVIDIA's rule is one context for each captured graph, for whatever changes a context, a new
shape as well as a new address, breaks the graphs captured from it.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from snow_runtime.closing import Closing
from snow_runtime.engine.cuda import CapturedGraph, DeviceBuffer, Event, Stream
from snow_runtime.engine.transfer import TransferBuffer
from snow_runtime.errors import EngineError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from snow_runtime.backends.batch import Batch
    from snow_runtime.engine.contexts import ContextMaker
    from snow_runtime.engine.graph_capture import GraphCapture
    from snow_runtime.engine.tensors import EngineTensors

KEPT_SIZES: Final = 4
"""For how many batch sizes a slot keeps an execution; the one used longest ago goes first."""


class Lane(Closing):
    """A stream, working memory for it, and two slots; a thread that uses it holds its lock.

    Args:
        maker: Maker of the engine's execution contexts.
        tensors: What the engine reads and writes.
        capture: Whether CUDA graphs are captured; shared by all lanes of a session.
        mapped: Whether the GPU computes on pinned memory where it lies.

    Attributes:
        stream: Stream that it computes in.
        lock: Held by whoever puts work into the stream: its contexts serve one thread at a time.
        slots: Two, to be used by one thread each.
    """

    def __init__(
        self, maker: ContextMaker, tensors: EngineTensors, capture: GraphCapture, *, mapped: bool
    ) -> None:
        self.maker, self.tensors, self.capture = maker, tensors, capture
        self.lock = threading.Lock()
        with ExitStack() as stack:
            self.stream = stack.enter_context(Stream())
            self.scratch = (
                None
                if maker.scratch_bytes is None
                else stack.enter_context(DeviceBuffer(maker.scratch_bytes))
            )
            self.slots = [stack.enter_context(Slot(self, mapped=mapped)) for _ in range(2)]
            stack.callback(self.stream.synchronize)  # before all else, should work be under way
            self._stack = stack.pop_all()

    def close(self) -> None:
        """Wait for the work under way and free everything."""
        self.slots.clear()
        self._stack.close()


class Slot(Closing):
    """Buffers for one batch on its way through a lane.

    Args:
        lane: The lane.
        mapped: Whether the GPU computes on pinned memory where it lies.
    """

    def __init__(self, lane: Lane, *, mapped: bool) -> None:
        self._lane = lane
        self._executions: OrderedDict[int, Execution] = OrderedDict()
        self._counts = (0, 0)
        tensors = lane.tensors
        with ExitStack() as stack:
            size_bytes = tensors.input_bytes(tensors.most)
            self.input = stack.enter_context(TransferBuffer(size_bytes, mapped=mapped))
            size_bytes = tensors.output_bytes(tensors.most)
            self.output = stack.enter_context(TransferBuffer(size_bytes, mapped=mapped))
            self._done = stack.enter_context(Event())
            self._stack = stack.pop_all()

    def start(self, batch: Batch) -> None:
        """Take a batch over and let the GPU compute, without waiting for it.

        Args:
            batch: Batch of the engine's dtype, at most as large as its largest; if it is smaller
                than its smallest, zeros are added.

        Raises:
            EngineError: CUDA or TensorRT failed.
        """
        lane = self._lane
        rows = max(len(batch), lane.tensors.least)
        staged = lane.tensors.view_input(self.input.array, rows)
        staged[: len(batch)] = batch
        staged[len(batch) :] = 0
        with lane.lock:
            self._execution(rows).run()
            self._done.record(lane.stream)
        self._counts = (len(batch), rows)

    def finish(self) -> dict[str, NDArray[np.float32]]:
        """Wait for the batch that was started.

        Returns:
            Table by output name: float32 `[B, C]`; new arrays.

        Raises:
            EngineError: CUDA failed.
        """
        self._done.wait()
        count, rows = self._counts
        views = self._lane.tensors.view_logits(self.output.array, rows)
        return {name: view[:count].astype(np.float32) for name, view in views.items()}

    def copy_ms(self, count: int) -> float:
        """Time the copies of a batch of `count` by themselves, to the GPU and back, milliseconds.

        Raises:
            EngineError: CUDA failed.
        """
        lane = self._lane
        rows = max(count, lane.tensors.least)
        with lane.lock:
            lane.stream.synchronize()
            began_s = time.perf_counter()
            self.input.upload(lane.stream, lane.tensors.input_bytes(rows))
            self.output.download(lane.stream, lane.tensors.output_bytes(rows))
            lane.stream.synchronize()
        return 1e3 * (time.perf_counter() - began_s)

    def abandon(self) -> None:
        """Wait until nothing of a failed batch is under way: its buffers are used again."""
        with self._lane.lock, suppress(EngineError):  # what failed has been reported already
            self._lane.stream.synchronize()

    def close(self) -> None:
        """Free the buffers, the contexts and the graphs."""
        with self._stack, ExitStack() as executions:
            while self._executions:
                executions.callback(self._executions.popitem()[1].close)

    def _execution(self, rows: int) -> Execution:
        """Return the execution for a batch size, now the one used last."""
        found = self._executions.pop(rows, None)
        if found is None:
            if self._executions and not self._lane.capture.wanted:
                # Without a graph to protect, one context serves all sizes.
                found = self._executions.popitem()[1]
            else:
                if len(self._executions) == KEPT_SIZES:
                    self._executions.popitem(last=False)[1].close()
                found = Execution(self._lane, self)
            try:
                found.bind(rows)
            except BaseException:
                found.close()
                raise
        self._executions[rows] = found
        return found


class Execution:
    """An execution context that reads and writes a slot's buffers, and its CUDA graph.

    Args:
        lane: Lane that it runs in.
        slot: What it reads and writes.

    Raises:
        EngineError: TensorRT cannot make a context.
    """

    def __init__(self, lane: Lane, slot: Slot) -> None:
        self._lane, self._slot = lane, slot
        self._context: Any = lane.maker.make(lane.scratch)
        self._graph: CapturedGraph | None = None
        self._rows = 0

    def bind(self, rows: int) -> None:
        """Make it one for a batch size.

        Raises:
            EngineError: TensorRT refuses the shape or an address.
        """
        self._drop_graph()
        tensors = self._lane.tensors
        shape = (rows, *tensors.picture)
        addresses = {tensors.input_name: self._slot.input.address}
        for name, start in tensors.output_starts(rows).items():
            addresses[name] = self._slot.output.address + start
        if not self._context.set_input_shape(tensors.input_name, shape) or not all(
            self._context.set_tensor_address(name, at) for name, at in addresses.items()
        ):
            msg = (
                f"TensorRT refuses a batch of the shape {list(shape)}, expected one for which the "
                f"engine was built: {tensors.least} to {tensors.most} pictures. The log "
                "'snow_runtime.tensorrt' says why; build the engine anew."
            )
            raise EngineError(msg)
        for output in tensors.outputs:  # TensorRT would write beyond their memory
            seen = [int(axis) for axis in self._context.get_tensor_shape(output.name)]
            if seen != [rows, *output.shape]:
                msg = (
                    f"The engine computes {output.name!r} of shape {seen} for {rows} pictures, "
                    f"expected {[rows, *output.shape]}. Build it from a graph of "
                    "'snow-deploy export'."
                )
                raise EngineError(msg)
        self._rows = rows

    def run(self) -> None:
        """Put one batch's work into the stream: its copies and the computation.

        The first time is the warm-up that TensorRT wants after each change of shape; what it does
        is then captured, while the GPU is at work.

        Raises:
            EngineError: CUDA or TensorRT failed.
        """
        if self._graph is not None:
            self._graph.launch(self._lane.stream)
            return
        self._enqueue()
        if self._lane.capture.wanted:
            self._capture()

    def close(self) -> None:
        """Free the graph, then the context; none of its work may be under way."""
        try:
            self._drop_graph()
        finally:
            self._context = None

    def _enqueue(self) -> None:
        stream = self._lane.stream
        self._slot.input.upload(stream, self._lane.tensors.input_bytes(self._rows))
        if not self._context.execute_async_v3(int(stream)):
            msg = (
                f"TensorRT did not start the computation of {self._rows} pictures, expected it "
                "to. The log 'snow_runtime.tensorrt' says why; load the engine again."
            )
            raise EngineError(msg)
        self._slot.output.download(stream, self._lane.tensors.output_bytes(self._rows))

    def _capture(self) -> None:
        capturable = getattr(self._context, "is_stream_capturable", None)
        if capturable is not None and not capturable(int(self._lane.stream)):
            self._lane.capture.refuse("TensorRT says that they cannot be captured.")
            return
        try:
            self._graph = CapturedGraph(self._lane.stream, self._enqueue)
        except EngineError as error:
            self._lane.capture.refuse(error)

    def _drop_graph(self) -> None:
        graph, self._graph = self._graph, None
        if graph is not None:
            graph.close()

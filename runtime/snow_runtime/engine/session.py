"""Running a TensorRT engine.

Axes: B pictures of a batch; S the image size; C labels of a task.
"""

from __future__ import annotations

import logging
import threading
import weakref
from collections import deque
from contextlib import ExitStack
from itertools import cycle
from typing import TYPE_CHECKING, Any

import numpy as np

from snow_runtime.backends.batch import check_batch
from snow_runtime.engine.contexts import ContextMaker
from snow_runtime.engine.cuda import PrimaryContext
from snow_runtime.engine.graph_capture import GraphCapture
from snow_runtime.engine.lane import Lane
from snow_runtime.engine.pool import SlotPool
from snow_runtime.engine.tensors import read_tensors
from snow_runtime.errors import EngineError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from snow_runtime.backends.batch import Batch
    from snow_runtime.engine.lane import Slot
    from snow_runtime.graph.manifest import Manifest

_LOGGER = logging.getLogger(__name__)
_COPIES = 5  # timed; the least counts


class EngineSession:
    """An engine that TensorRT has loaded, ready to compute.

    Several threads may call :meth:`run` at once. A lane computes one batch after the other, and
    while it does, the next one is copied to it and the last one from it: twice as many calls as
    there are lanes are under way, and further ones wait. Batches above the engine's largest are
    computed in parts, those below its smallest are filled up with zeros.

    The first run at a batch size takes longer: TensorRT warms up, and a CUDA graph is captured.

    Args:
        engine: TensorRT's `ICudaEngine`, loaded on `device`.
        manifest: What it is.
        module: The library that loaded it, TensorRT or TensorRT-RTX.
        contexts: Number of lanes, each with working memory and buffers of its own; more than one
            pays where a batch does not fill the GPU.
        device: The GPU, as CUDA counts them.

    Attributes:
        manifest: What the engine is.

    Raises:
        EngineError: The engine is not of its manifest, or CUDA or TensorRT failed.
        MissingDependencyError: The package cuda-bindings is not installed.
        ValueError: `contexts` is below 1.
    """

    def __init__(
        self,
        engine: Any,
        manifest: Manifest,
        module: Any,
        *,
        contexts: int = 1,
        device: int = 0,
    ) -> None:
        if contexts < 1:
            msg = f"Cannot compute in {contexts} contexts: expected 1 or more."
            raise ValueError(msg)
        self.manifest = manifest
        self._tensors = read_tensors(engine, module, manifest)
        self._closing = threading.Lock()
        self._context = PrimaryContext(device)
        self._lanes = ExitStack()
        with ExitStack() as undo:
            undo.callback(_free, self._context, self._lanes)
            with self._context.current():
                maker = ContextMaker(engine, module)
                capture = GraphCapture(wanted=not maker.captures_itself)
                mapped = self._context.maps_host_memory
                lanes = [
                    self._lanes.enter_context(Lane(maker, self._tensors, capture, mapped=mapped))
                    for _ in range(contexts)
                ]
            undo.pop_all()
        self._pool = SlotPool(lanes)
        self._last_count = 0
        self._copies_ms: dict[int, float] = {}
        # For sessions that nobody closes. Not at exit: other threads may compute until the very
        # end, and the end of the process frees everything.
        self._finalizer = weakref.finalize(self, _free_unasked, self._context, self._lanes)
        self._finalizer.atexit = False

    @property
    def batch_size(self) -> int | None:
        """How many pictures every call must bring; None if the engine takes any number."""
        return self._tensors.batch_size

    @property
    def copy_ms(self) -> float | None:
        """Milliseconds that copies such as the last run's take by themselves, both ways.

        Timed when first asked for at a batch size, apart from any run; None before the first run.
        """
        if self._last_count == 0:
            return None
        whole, rest = divmod(self._last_count, self._tensors.most)
        return whole * self._part_copy_ms(self._tensors.most) + self._part_copy_ms(rest)

    def run(self, batch: Batch) -> dict[str, NDArray[np.float32]]:
        """Compute every task's logits.

        Args:
            batch: float32 `[B, 3, S, S]`, normalised, finite; or, where the manifest's input is
                uint8, frames `[B, S, S, 3]`.

        Returns:
            Table by output name: float32 `[B, C]`; new arrays at each call.

        Raises:
            InputError: The batch has another shape or dtype, or NaN or infinity in it.
            GraphError: The session is closed.
            EngineError: CUDA or TensorRT failed.
        """
        with self._pool.call():
            check_batch(self.manifest, self.batch_size, batch)
            most = self._tensors.most
            self._last_count = len(batch)
            parts = [batch[start : start + most] for start in range(0, len(batch), most)]
            with self._context.current(), self._pool.lend(min(2, len(parts))) as slots:
                logits = _compute(parts, slots)
        if len(logits) == 1:
            return logits[0]
        return {name: np.concatenate([part[name] for part in logits]) for name in logits[0]}

    def _part_copy_ms(self, count: int) -> float:
        if count == 0:
            return 0.0
        if count not in self._copies_ms:
            with self._pool.call(), self._context.current(), self._pool.lend(1) as slots:
                self._copies_ms[count] = min(slots[0].copy_ms(count) for _ in range(_COPIES))
        return self._copies_ms[count]

    def close(self) -> None:
        """Wait for the calls under way and free all memory; a second time does nothing.

        Raises:
            EngineError: CUDA failed. Everything is freed all the same, unless the message says that
                the GPU cannot be used in this thread; it may then be called again.
        """
        with self._closing:
            self._pool.drain()
            _free(self._context, self._lanes)


def _compute(parts: list[Batch], slots: list[Slot]) -> list[dict[str, NDArray[np.float32]]]:
    """Compute one part after the other; with two slots, one is copied while one is computed."""
    logits = []
    under_way: deque[Slot] = deque()
    for part, slot in zip(parts, cycle(slots), strict=False):
        if len(under_way) == len(slots):
            logits.append(under_way.popleft().finish())
        slot.start(part)
        under_way.append(slot)
    return logits + [slot.finish() for slot in under_way]


def _free(context: PrimaryContext, lanes: ExitStack) -> None:
    """Free the lanes, then the context; where it cannot be made current, nothing."""
    if context.closed:
        return
    with ExitStack() as last, context.current():
        last.callback(context.close)
        lanes.close()


def _free_unasked(context: PrimaryContext, lanes: ExitStack) -> None:
    try:
        _free(context, lanes)
    except EngineError as error:
        _LOGGER.warning("An engine was left without being closed: %s", error)

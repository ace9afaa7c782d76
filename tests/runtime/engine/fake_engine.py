"""A stand-in of a loaded TensorRT engine, which computes on the GPU of `fake_cuda`.

It computes mean colour times weights plus bias, and holds those who use it to NVIDIA's rules: one
thread at a time for a context, a warm-up after each change of shape before a capture, no change of
a context from which a graph was captured, working memory for one stream only.
"""

from __future__ import annotations

import threading
import time
import weakref
from contextlib import contextmanager
from enum import Enum
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np

from tests.runtime.engine.fake_gpu import ALIGNMENT, POISON, Work

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from snow_runtime.graph.manifest import Manifest
    from tests.runtime.engine.fake_cuda import FakeDriver

_NUMPY = {"FLOAT": np.float32, "HALF": np.float16, "UINT8": np.uint8, "INT32": np.int32}

DataType = Enum("DataType", ["FLOAT", "HALF", "BF16", "UINT8", "INT32"])
TensorIOMode = Enum("TensorIOMode", ["NONE", "INPUT", "OUTPUT"])
Strategy = Enum("Strategy", ["STATIC", "USER_MANAGED"])
CudaGraphStrategy = Enum("CudaGraphStrategy", ["DISABLED", "WHOLE_GRAPH_CAPTURE"])

TENSORRT = SimpleNamespace(TensorIOMode=TensorIOMode, ExecutionContextAllocationStrategy=Strategy)
TENSORRT_RTX = SimpleNamespace(**vars(TENSORRT), CudaGraphStrategy=CudaGraphStrategy)


class FakeEngine:
    """TensorRT's `ICudaEngine`.

    Args:
        driver: The GPU that it is on.
        manifest: What it answers.
        batches: The smallest and the largest of its profile.
        dtypes: By tensor, where it is not FLOAT.
        extra: Outputs beside the tasks', with their number of columns.
        capturable: Whether its work can be captured into a CUDA graph.
        slow_s: How long each of its contexts' calls takes, at least.
    """

    def __init__(
        self,
        driver: FakeDriver,
        manifest: Manifest,
        batches: tuple[int, int] = (1, 4),
        *,
        dtypes: dict[str, str] | None = None,
        extra: dict[str, int] | None = None,
        capturable: bool = True,
        slow_s: float = 0,
    ) -> None:
        self.driver, self.batches = driver, batches
        self.capturable, self.slow_s = capturable, slow_s
        entry = manifest.input
        size = manifest.preprocessing.image_size
        self.input, self.picture = entry.name, entry.picture_shape(size)
        self.channels_last = entry.layout == "NHWC"
        columns = {task.output: len(task.labels) for task in manifest.tasks} | (extra or {})
        rng = np.random.default_rng(11)
        self.weights = {name: rng.normal(size=(3, count)) for name, count in columns.items()}
        self.biases = {name: rng.normal(size=count) for name, count in columns.items()}
        usual = {self.input: {"uint8": "UINT8"}.get(entry.dtype, "FLOAT")}
        self.dtypes = dict.fromkeys(columns, "FLOAT") | usual | (dtypes or {})
        self.shapes = {name: [-1, count] for name, count in columns.items()}
        self.shapes[self.input] = [-1, *self.picture]
        if batches[0] == batches[1]:
            self.shapes = {name: [batches[0], *rest] for name, (_, *rest) in self.shapes.items()}
        self.device_memory_size_v2 = 64
        self.alive: weakref.WeakSet[FakeContext] = weakref.WeakSet()
        self.made = 0
        self.strategies: list[Any] = []
        self.out_of_memory_after: int | None = None
        self.streams_of_memory: dict[int, int] = {}

    @property
    def num_io_tensors(self) -> int:
        return len(self.shapes)

    def get_tensor_name(self, index: int) -> str:
        return list(self.shapes)[index]

    def get_tensor_mode(self, name: str) -> TensorIOMode:
        return TensorIOMode["INPUT" if name == self.input else "OUTPUT"]

    def get_tensor_dtype(self, name: str) -> DataType:
        return DataType[self.dtypes[name]]

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return tuple(self.shapes[name])

    def get_tensor_profile_shape(self, name: str, profile_index: int) -> list[tuple[int, ...]]:
        assert (name, profile_index) == (self.input, 0)
        least, most = self.batches
        return [(count, *self.picture) for count in (least, most, most)]

    def create_runtime_config(self) -> RuntimeConfig:
        return RuntimeConfig()

    def create_execution_context(self, strategy: Any = Strategy.STATIC) -> FakeContext | None:
        self.driver.need_context("an execution context is made")
        if self.made == self.out_of_memory_after:
            return None
        self.made += 1
        self.strategies.append(strategy)
        context = FakeContext(self, managed=strategy is Strategy.USER_MANAGED)
        self.alive.add(context)
        return context

    def compute(self, batch: NDArray[Any]) -> dict[str, NDArray[np.float64]]:
        """Compute in float64 what the engine has to answer."""
        values = batch.astype(np.float64)
        colours = values.mean(axis=(1, 2) if self.channels_last else (2, 3))  # [B, 3]
        return {name: colours @ self.weights[name] + self.biases[name] for name in self.weights}

    def dtype(self, name: str) -> np.dtype[Any]:
        return np.dtype(_NUMPY[self.dtypes[name]])


class RuntimeConfig:
    """TensorRT-RTX's `IRuntimeConfig`."""

    def __init__(self) -> None:
        self.cuda_graph_strategy = CudaGraphStrategy["DISABLED"]
        self.cache: object = None

    def create_runtime_cache(self) -> object:
        return object()

    def set_runtime_cache(self, cache: object) -> bool:
        self.cache = cache
        return True


class FakeContext:
    """TensorRT's `IExecutionContext`."""

    def __init__(self, engine: FakeEngine, *, managed: bool) -> None:
        self._engine, self._driver, self._managed = engine, engine.driver, managed
        self._memory: tuple[int, int] | None = None
        self._rows = 0
        self._addresses: dict[str, int] = {}
        self._version = 0
        self._warm = False
        self._busy = threading.Lock()

    def __del__(self) -> None:
        if not self._driver.current[threading.get_ident()]:
            self._driver.misuse.append("an execution context is destroyed without a current one")

    def set_device_memory(self, memory: int, size: int) -> None:
        with self._alone():
            if not self._managed or size < self._engine.device_memory_size_v2:
                self._driver.refuse("working memory that is too small, or not wanted")
            self._change("_memory", (memory, size))

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        with self._alone():
            rows, *picture = shape
            least, most = self._engine.batches
            fits = name == self._engine.input and tuple(picture) == self._engine.picture
            if not fits or not least <= rows <= most:
                return False
            if rows != self._rows:
                self._warm = False
            self._change("_rows", rows)
            return True

    def set_tensor_address(self, name: str, memory: int) -> bool:
        with self._alone():
            if name not in self._engine.shapes:
                return False
            self._change("_addresses", {**self._addresses, name: memory})
            return True

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        with self._alone():
            batch, *rest = self._engine.shapes[name]
            return (self._rows if batch < 0 else batch, *rest)

    def execute_async_v3(self, stream_handle: int) -> bool:
        with self._alone(), self._driver.lock:
            self._driver.need_context("execute_async_v3")
            stream = self._driver.stream(stream_handle)
            if set(self._addresses) != set(self._engine.shapes) or not self._rows:
                self._driver.refuse("an execution context is used that lacks a shape or address")
            if self._managed and self._memory is None:
                self._driver.refuse("an execution context is used that lacks working memory")
            if self._memory is not None:
                known = self._engine.streams_of_memory.setdefault(self._memory[0], stream_handle)
                if known != stream_handle:
                    self._driver.refuse("two streams share working memory")
            if stream.captured is not None and not (self._warm and self._engine.capturable):
                stream.valid = False
                return False
            self._driver.put(stream_handle, self._work(graph=stream.captured is not None))
            self._warm = True
            return True

    def _work(self, *, graph: bool) -> Work:
        engine, driver, rows = self._engine, self._driver, self._rows
        addresses, memory, version = dict(self._addresses), self._memory, self._version
        myself = weakref.ref(self)

        def complaint() -> str:
            context = myself()
            if context is None:
                return "the execution context is gone that it was captured from"
            changed = graph and context._version != version
            return "its execution context was changed since it was captured" if changed else ""

        def see(name: str, *shape: int) -> NDArray[Any]:
            dtype = engine.dtype(name)
            size_bytes = int(np.prod(shape)) * dtype.itemsize
            if addresses[name] % ALIGNMENT:
                driver.refuse(f"{name} lies at {addresses[name]:#x}, which is not aligned")
            return driver.see(addresses[name], size_bytes).view(dtype).reshape(shape)

        def do() -> None:
            if wrong := complaint():
                driver.refuse(f"work is under way although {wrong}")
            if memory is not None:
                driver.see(*memory)[:] = POISON
            batch = see(engine.input, rows, *engine.picture)
            if not np.isfinite(batch).all():
                driver.refuse("pictures that were never filled in")
            for name, values in engine.compute(batch).items():
                see(name, rows, values.shape[1])[:] = values

        scratch = () if memory is None else (memory[0],)
        return Work(do, (*addresses.values(), *scratch), complaint)

    def _change(self, field: str, value: Any) -> None:
        if getattr(self, field) != value:
            setattr(self, field, value)
            self._version += 1

    @contextmanager
    def _alone(self) -> Iterator[None]:
        if not self._busy.acquire(blocking=False):
            self._driver.refuse("two threads use one execution context at once")
        try:
            time.sleep(self._engine.slow_s)
            yield
        finally:
            self._busy.release()

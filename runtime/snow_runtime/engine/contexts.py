"""Execution contexts, made as each TensorRT offers them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from snow_runtime.errors import EngineError

if TYPE_CHECKING:
    from snow_runtime.engine.cuda import DeviceBuffer


class ContextMaker:
    """Makes an engine's execution contexts; several threads may use it at once.

    TensorRT: contexts without working memory, which those of a lane share; a CUDA graph then costs
    a context, not its working memory. TensorRT-RTX: contexts that capture CUDA graphs themselves,
    for it compiles better kernels for a shape while a first one already runs, and that share the
    kernels compiled so far.

    Args:
        engine: TensorRT's `ICudaEngine`.
        module: The library that it is of.

    Attributes:
        captures_itself: Whether the contexts capture CUDA graphs on their own.
        scratch_bytes: Size of the working memory that a context must be given; None if it brings
            its own.
    """

    def __init__(self, engine: Any, module: Any) -> None:
        self._engine = engine
        self._module = module
        self.captures_itself = hasattr(module, "CudaGraphStrategy")
        self._kernels = None
        self._managed: Any = None
        self.scratch_bytes: int | None = None
        if self.captures_itself:
            self._kernels = engine.create_runtime_config().create_runtime_cache()
        elif hasattr(module, "ExecutionContextAllocationStrategy"):
            self._managed = module.ExecutionContextAllocationStrategy.USER_MANAGED
            self.scratch_bytes = max(1, int(engine.device_memory_size_v2))

    def make(self, scratch: DeviceBuffer | None) -> Any:
        """Make a context.

        Args:
            scratch: Working memory of `scratch_bytes`, of which one context at a time makes use.

        Raises:
            EngineError: TensorRT cannot, as a rule for want of memory.
        """
        if self.captures_itself:
            config = self._engine.create_runtime_config()
            config.cuda_graph_strategy = self._module.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE
            config.set_runtime_cache(self._kernels)
            context = self._engine.create_execution_context(config)
        elif scratch is not None:
            context = self._engine.create_execution_context(self._managed)
        else:
            context = self._engine.create_execution_context()
        if context is None:
            msg = (
                "TensorRT cannot make an execution context, expected memory for one more; the log "
                "'snow_runtime.tensorrt' says why. Take fewer contexts or an engine of a smaller "
                "--max-batch."
            )
            raise EngineError(msg)
        if scratch is not None:
            context.set_device_memory(scratch.address, scratch.size_bytes)
        return context

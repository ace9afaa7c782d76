"""Running an ONNX Runtime session on a device with its inputs and outputs bound (IO binding).

Without it, ONNX Runtime copies within its run, tensor by tensor and in pageable memory of its own;
and nobody can tell the copies from the computation.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from snow_runtime.backends.batch import Batch


class BoundRuns:
    """Runs a session on one device; several threads may call at once.

    Args:
        runtime: The `onnxruntime` module.
        session: Its `InferenceSession`.
        device: Device as ONNX Runtime calls it: `cuda`, or `cpu`.
        input_name: The one input's name.
        outputs: Names of the outputs wanted.

    Attributes:
        copy_ms: Milliseconds that the last run took for copies to the device and back.
    """

    def __init__(
        self, runtime: Any, session: Any, device: str, input_name: str, outputs: Sequence[str]
    ) -> None:
        self._runtime = runtime
        self._session = session
        self._device = device
        self._input_name = input_name
        self._outputs = tuple(outputs)
        self.copy_ms: float | None = None

    def __call__(self, batch: Batch) -> list[NDArray[np.float32]]:
        """Copy a batch to the device, run, and give the outputs, new arrays each time."""
        began_s = time.perf_counter()
        binding = self._session.io_binding()
        value = self._runtime.OrtValue.ortvalue_from_numpy(batch, self._device, 0)
        binding.bind_ortvalue_input(self._input_name, value)
        for name in self._outputs:  # ONNX Runtime allocates them when their shapes are known
            binding.bind_output(name, self._device, 0)
        binding.synchronize_inputs()
        copied_s = time.perf_counter()
        self._session.run_with_iobinding(binding)
        binding.synchronize_outputs()
        ran_s = time.perf_counter()
        found: list[NDArray[np.float32]] = binding.copy_outputs_to_cpu()
        self.copy_ms = 1e3 * (copied_s - began_s + time.perf_counter() - ran_s)
        return found

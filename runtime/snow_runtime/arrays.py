"""Pictures of other libraries as NumPy arrays: DLPack, and arrays that lie on a GPU.

A frame of a GPU is copied to the host: resizing happens there. What PyTorch, CuPy, JAX or OpenCV's
CUDA frames hand over is never written to.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from snow_runtime.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_ON_HOST: Final = (1, 3)  # DLDeviceType: kDLCPU, kDLCUDAHost


def to_numpy(image: object) -> object:
    """Give an array of another library as a NumPy array; anything else comes back as it is.

    Args:
        image: With `__cuda_array_interface__` (copied to the host, after the work of the stream
            that it names) or `__dlpack__` of the host's memory (shared).

    Raises:
        InputError: Its memory cannot be reached from here, or is not contiguous on the GPU.
        EngineError: The copy from the GPU failed.
        MissingDependencyError: cuda-bindings, which copy it, are not installed.
    """
    if isinstance(image, np.ndarray):
        return image
    on_gpu = _cuda_interface(image)
    if on_gpu is not None:
        return _from_gpu(on_gpu)
    if not hasattr(image, "__dlpack__"):
        return image
    device = image.__dlpack_device__() if hasattr(image, "__dlpack_device__") else (1, 0)
    if int(device[0]) not in _ON_HOST:
        raise InputError(
            f"The image lies on a device of DLPack's kind {int(device[0])}, expected the host's "
            "memory or a CUDA GPU with __cuda_array_interface__. Bring it to the host first."
        )
    try:
        return np.from_dlpack(image)
    except Exception as error:  # each library refuses in its own way
        raise InputError(
            f"The image cannot be taken by DLPack: {error}. Detach it from any gradients, or bring "
            "it to NumPy."
        ) from error


def _cuda_interface(image: object) -> dict[str, Any] | None:
    """Give the description; PyTorch raises for what does not lie on a GPU."""
    try:
        found = getattr(image, "__cuda_array_interface__", None)
    except Exception:  # noqa: BLE001 - then it lies elsewhere
        return None
    return found if isinstance(found, dict) else None


def _from_gpu(described: dict[str, Any]) -> NDArray[Any]:
    from snow_runtime.engine.cuda import PinnedBuffer, PrimaryContext, Stream, call

    shape = tuple(int(size) for size in described["shape"])
    dtype = np.dtype(described["typestr"])
    strides = described.get("strides")
    if strides is not None and tuple(strides) != _contiguous(shape, dtype.itemsize):
        raise InputError(
            f"The image on the GPU has the strides {tuple(strides)}, expected a contiguous array. "
            "Make it contiguous first."
        )
    address, _ = described["data"]
    size_bytes = math.prod(shape) * dtype.itemsize
    if size_bytes == 0:
        return np.empty(shape, dtype)
    with PrimaryContext() as context, context.current(), Stream() as stream:
        if described.get("stream") is not None:  # what makes the picture is still at work there
            call("wait for the picture", "cuStreamSynchronize", described["stream"])
        with PinnedBuffer(size_bytes) as host:
            source, target = int(address), int(host.handle)
            doing = "copy the picture from the GPU"
            call(doing, "cuMemcpyDtoHAsync", target, source, size_bytes, stream.handle)
            stream.synchronize()
            found: NDArray[Any] = host.array.copy().view(dtype).reshape(shape)
            return found


def _contiguous(shape: tuple[int, ...], itemsize: int) -> tuple[int, ...]:
    return tuple(itemsize * math.prod(shape[axis + 1 :]) for axis in range(len(shape)))

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


class OnStream:
    """An array on the GPU, together with the stream whose work makes it.

    pycuda's arrays, and OpenCV's, do not tell on which stream they are being made. A model waits
    for that stream before it reads such a picture; it uses a stream of its own and leaves the
    current context as it is.

    Args:
        array: Array with `__cuda_array_interface__`.
        stream: Pycuda's `Stream` (`handle`), CuPy's (`ptr`), PyTorch's (`cuda_stream`), or the
            handle as an integer.

    Raises:
        InputError: It is not on a GPU, or the stream is none.
    """

    def __init__(self, array: object, stream: object) -> None:
        described = _cuda_interface(array)
        if described is None:
            msg = (
                f"A {type(array).__name__} has no __cuda_array_interface__, expected an array on "
                "the GPU. Only such an array is made on a stream."
            )
            raise InputError(msg)
        self._array = array  # keeps its memory
        self.__cuda_array_interface__ = {**described, "stream": _handle_of(stream)}


def _handle_of(stream: object) -> int:
    """Give a stream's handle, as an integer."""
    for name in ("handle", "ptr", "cuda_stream"):
        stream = getattr(stream, name, stream)
    if isinstance(stream, int):
        return stream
    msg = (
        f"A {type(stream).__name__} is no stream, expected one of pycuda, CuPy or PyTorch, or its "
        "handle as an integer."
    )
    raise InputError(msg)


def to_numpy(image: object) -> object:
    """Give an array of another library as a NumPy array; anything else comes back as it is.

    Args:
        image: Array with `__cuda_array_interface__` (copied to the host, after the work of the
            stream that it names) or `__dlpack__` of the host's memory (shared).

    Raises:
        InputError: Its memory cannot be reached from here, or is not contiguous on the GPU.
        EngineError: The copy from the GPU failed.
        MissingDependencyError: Cuda-bindings, which copy it, are not installed.
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
        msg = (
            f"The image lies on a device of DLPack's kind {int(device[0])}, expected the host's "
            "memory or a CUDA GPU with __cuda_array_interface__. Bring it to the host first."
        )
        raise InputError(msg)
    try:
        return np.from_dlpack(image)
    except Exception as error:  # each library refuses in its own way
        msg = (
            f"The image cannot be taken by DLPack: {error}. Detach it from any gradients, or bring "
            "it to NumPy."
        )
        raise InputError(msg) from error


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
        msg = (
            f"The image on the GPU has the strides {tuple(strides)}, expected a contiguous array. "
            "Make it contiguous first."
        )
        raise InputError(msg)
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

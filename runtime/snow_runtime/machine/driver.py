"""The NVIDIA driver and its GPUs, asked through libcuda: needs no package and makes no context."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

# CUdevice_attribute
_MAJOR: Final = 75
_MINOR: Final = 76
_INTEGRATED: Final = 18

_open = ctypes.CDLL


class DriverDoesNotStartError(OSError):
    """The driver is installed and does not start; `status` is cuInit's."""

    def __init__(self, status: int) -> None:
        super().__init__(f"cuInit gives error {status}")
        self.status = status


@dataclass(frozen=True)
class Gpu:
    """One GPU.

    Attributes:
        index: Number of the GPU, as CUDA counts them.
        name: The driver's, such as `NVIDIA GeForce RTX 3090`.
        capability: Its compute capability, major and minor.
        memory_bytes: All of its memory; on an integrated GPU, the machine's.
        integrated: Whether it shares the machine's memory, as a Jetson's does.
    """

    index: int
    name: str
    capability: tuple[int, int]
    memory_bytes: int = 0
    integrated: bool = False

    @property
    def target(self) -> str:
        """The compute capability in short, such as `sm86`."""
        return "sm{}{}".format(*self.capability)


@dataclass(frozen=True)
class Driver:
    """A driver that works.

    Attributes:
        cuda: The newest CUDA that it serves, such as `12.6`.
        gpus: GPUs in CUDA's order; empty where it sees none.
    """

    cuda: str
    gpus: tuple[Gpu, ...]


def ask_driver(library: Callable[[str], Any] | None = None) -> Driver:
    """Ask the driver what is here.

    Args:
        library: Function that opens a shared library by name; None for the system's own way.

    Raises:
        OSError: There is no driver; DriverDoesNotStartError where there is one that fails.
    """
    cuda = (library or _open)("libcuda.so.1")
    status = cuda.cuInit(0)
    if status != 0:
        raise DriverDoesNotStartError(status)
    version, count = ctypes.c_int(), ctypes.c_int()
    cuda.cuDriverGetVersion(ctypes.byref(version))
    cuda.cuDeviceGetCount(ctypes.byref(count))
    number = version.value
    return Driver(
        f"{number // 1000}.{number % 1000 // 10}",
        tuple(_gpu(cuda, index) for index in range(count.value)),
    )


def gpu_here() -> Gpu | None:
    """Return the first GPU of this machine, or None where there is none that works."""
    try:
        return next(iter(ask_driver().gpus), None)
    except OSError:
        return None


def _gpu(cuda: Any, index: int) -> Gpu:
    name, memory = ctypes.create_string_buffer(100), ctypes.c_size_t()
    cuda.cuDeviceGetName(name, 100, index)
    cuda.cuDeviceTotalMem_v2(ctypes.byref(memory), index)
    major, minor, integrated = (_ask(cuda, it, index) for it in (_MAJOR, _MINOR, _INTEGRATED))
    label = name.value.decode("utf-8", "replace")
    return Gpu(index, label, (major, minor), memory.value, bool(integrated))


def _ask(cuda: Any, attribute: int, index: int) -> int:
    value = ctypes.c_int()
    cuda.cuDeviceGetAttribute(ctypes.byref(value), attribute, index)
    return value.value

"""A stand-in of the NVIDIA driver's library."""

from __future__ import annotations

import ctypes
from typing import Any


class LibCuda:
    """The calls of libcuda that are made, for GPUs given as (name, major, minor)."""

    def __init__(
        self,
        *gpus: tuple[str, int, int],
        status: int = 0,
        version: int = 12080,
        memory_bytes: int = 8 << 30,
        integrated: bool = False,
    ) -> None:
        self.gpus, self.status, self.version = gpus, status, version
        self.memory_bytes, self.integrated = memory_bytes, integrated

    def cuInit(self, flags: int) -> int:  # noqa: N802
        assert flags == 0
        return self.status

    def cuDriverGetVersion(self, version: Any) -> int:  # noqa: N802
        version._obj.value = self.version
        return 0

    def cuDeviceGetCount(self, count: Any) -> int:  # noqa: N802
        count._obj.value = len(self.gpus)
        return 0

    def cuDeviceGetName(self, buffer: Any, size: int, index: int) -> int:  # noqa: N802
        assert size <= ctypes.sizeof(buffer)
        buffer.value = self.gpus[index][0].encode()
        return 0

    def cuDeviceGetAttribute(self, value: Any, attribute: int, index: int) -> int:  # noqa: N802
        _, major, minor = self.gpus[index]
        value._obj.value = {75: major, 76: minor, 18: int(self.integrated)}[attribute]
        return 0

    def cuDeviceTotalMem_v2(self, size: Any, index: int) -> int:  # noqa: N802
        assert index < len(self.gpus)
        size._obj.value = self.memory_bytes
        return 0

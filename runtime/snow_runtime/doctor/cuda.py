"""The NVIDIA driver and GPUs, asked through the driver itself: nvidia-smi need not be there."""

from __future__ import annotations

import ctypes
import re
from typing import TYPE_CHECKING, Any, Final

from snow_runtime.doctor.findings import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from snow_runtime.doctor.findings import Machine, Need

_NEEDED_BY: Final[tuple[Need, ...]] = ("cuda", "tensorrt")
_MAJOR, _MINOR = 75, 76  # CUdevice_attribute: the compute capability

# L4T's major release and least revision -> JetPack, the TensorRT that comes with it, and whether
# engines can be built with that (NVIDIA's JetPack archive).
_JETPACKS: Final = (
    (38, 0, "7", "10.13 or later", True),
    (36, 4, "6.1 or later", "10.3", True),
    (36, 0, "6.0", "8.6", False),
    (35, 0, "5", "8.5", False),
)


def check_driver(machine: Machine) -> Iterator[Finding]:
    """Look for the driver, and for GPUs that it can use."""
    try:
        driver = machine.library("libcuda.so.1")
    except OSError as error:
        yield Finding(
            "NVIDIA driver",
            "absent",
            f"libcuda.so.1 cannot be loaded ({error})",
            "with an NVIDIA GPU: install its driver; in a container: start it with --gpus all "
            "(on Jetson --runtime nvidia)",
            _NEEDED_BY,
        )
        return
    status = driver.cuInit(0)
    if status != 0:
        yield Finding(
            "NVIDIA driver",
            "problem",
            f"it is installed but does not start (cuInit gives error {status})",
            "restart after a driver update; in a container: start it with --gpus all",
            _NEEDED_BY,
        )
        return
    version = ctypes.c_int()
    driver.cuDriverGetVersion(ctypes.byref(version))
    cuda = f"{version.value // 1000}.{version.value % 1000 // 10}"
    yield Finding("NVIDIA driver", "ok", f"serves CUDA up to {cuda}", serves=_NEEDED_BY)
    yield from _devices(driver)


def _devices(driver: Any) -> Iterator[Finding]:
    count = ctypes.c_int()
    driver.cuDeviceGetCount(ctypes.byref(count))
    if count.value == 0:
        yield Finding(
            "GPU",
            "problem",
            "the driver sees none",
            "check CUDA_VISIBLE_DEVICES, and that the GPU is plugged in",
            _NEEDED_BY,
        )
    for index in range(count.value):
        name = ctypes.create_string_buffer(100)
        driver.cuDeviceGetName(name, 100, index)
        numbers = []
        for attribute in (_MAJOR, _MINOR):
            value = ctypes.c_int()
            driver.cuDeviceGetAttribute(ctypes.byref(value), attribute, index)
            numbers.append(str(value.value))
        label = name.value.decode("utf-8", "replace")
        capability = ".".join(numbers)
        yield Finding(
            "GPU", "ok", f"{index}: {label}, compute capability {capability}", serves=_NEEDED_BY
        )


def check_jetson(machine: Machine) -> Iterator[Finding]:
    """Tell which JetPack a Jetson has, and whether it is one that is supported."""
    model = machine.text("proc/device-tree/model")
    release = machine.text("etc/nv_tegra_release")
    if release is None:
        if model is not None and "jetson" in model.lower():
            yield Finding(
                "JetPack",
                "problem",
                f"this is a {model}, but /etc/nv_tegra_release is missing",
                "in a container: use an image for L4T and mount that file; otherwise flash JetPack",
                ("tensorrt",),
            )
        return
    found = re.search(r"R(\d+).*?REVISION: *(\d+)[\d.]*", release)
    major, revision = (int(found[1]), int(found[2])) if found else (0, 0)
    known = [row for row in _JETPACKS if row[0] == major and row[1] <= revision]
    if not known:
        yield Finding(
            "JetPack",
            "problem",
            f"L4T is none that is known here: {release.partition(chr(10))[0][:80]}",
            "use JetPack 6.1 or later",
            ("tensorrt",),
        )
        return
    _, _, jetpack, tensorrt, supported = known[0]
    seen = (
        f"{model or 'Jetson'}, L4T {major}.{revision}: JetPack {jetpack} with TensorRT {tensorrt}"
    )
    if supported:
        yield Finding("JetPack", "ok", seen, serves=("tensorrt",))
    else:
        yield Finding(
            "JetPack",
            "problem",
            f"{seen}, which is too old: engines need TensorRT 10.3",
            "flash JetPack 6.1 or later",
            ("tensorrt",),
        )

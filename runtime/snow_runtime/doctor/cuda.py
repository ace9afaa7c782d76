"""The NVIDIA driver and GPUs, asked through the driver itself: nvidia-smi need not be there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from snow_runtime.doctor.findings import Finding
from snow_runtime.machine.driver import DriverDoesNotStartError, ask_driver
from snow_runtime.machine.jetson import find_jetson

if TYPE_CHECKING:
    from collections.abc import Iterator

    from snow_runtime.doctor.findings import Machine, Need

_NEEDED_BY: Final[tuple[Need, ...]] = ("cuda", "tensorrt")


def check_driver(machine: Machine) -> Iterator[Finding]:
    """Look for the driver, and for GPUs that it can use."""
    try:
        driver = ask_driver(machine.library)
    except DriverDoesNotStartError as error:
        yield Finding(
            "NVIDIA driver",
            "problem",
            f"it is installed but does not start ({error})",
            "restart after a driver update; in a container: start it with --gpus all",
            _NEEDED_BY,
        )
        return
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
    yield Finding("NVIDIA driver", "ok", f"serves CUDA up to {driver.cuda}", serves=_NEEDED_BY)
    if not driver.gpus:
        yield Finding(
            "GPU",
            "problem",
            "the driver sees none",
            "check CUDA_VISIBLE_DEVICES, and that the GPU is plugged in",
            _NEEDED_BY,
        )
    for gpu in driver.gpus:
        capability = "{}.{}".format(*gpu.capability)
        seen = f"{gpu.index}: {gpu.name}, compute capability {capability}"
        yield Finding("GPU", "ok", seen, serves=_NEEDED_BY)


def check_jetson(machine: Machine) -> Iterator[Finding]:
    """Tell which JetPack a Jetson has, and whether it is one that is supported."""
    jetson = find_jetson(machine.root)
    if jetson is None:
        return
    model = jetson.model or "Jetson"
    if jetson.jetpack is None:
        release = machine.text("etc/nv_tegra_release")
        unknown = f"L4T is none that is known here: {(release or '').partition(chr(10))[0][:80]}"
        lost = f"this is a {model}, but /etc/nv_tegra_release is missing"
        mount = "in a container: use an image for L4T and mount that file; otherwise flash JetPack"
        seen, fix = (lost, mount) if release is None else (unknown, "use JetPack 6.1 or later")
        yield Finding("JetPack", "problem", seen, fix, ("tensorrt",))
        return
    seen = f"{model}, L4T {jetson.l4t}: JetPack {jetson.jetpack} with TensorRT {jetson.tensorrt}"
    if jetson.supported:
        yield Finding("JetPack", "ok", seen, serves=("tensorrt",))
    else:
        yield Finding(
            "JetPack",
            "problem",
            f"{seen}, which is too old: engines need TensorRT 10.3",
            "flash JetPack 6.1 or later",
            ("tensorrt",),
        )

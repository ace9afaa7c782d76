"""The machine that an engine is built or loaded on."""

from __future__ import annotations

import platform
import re
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from snow_runtime.graph.document import Document
from snow_runtime.graph.field_checks import Target
from snow_runtime.machine.driver import Driver, Gpu, ask_driver
from snow_runtime.machine.jetson import find_jetson


@dataclass(frozen=True)
class Host(Document):
    """What an engine depends on beside TensorRT.

    Attributes:
        platform: System and processor, such as `linux-x86_64`.
        driver: Version of the NVIDIA driver, such as `560.35.03`; None where Linux does not tell.
        cuda: The newest CUDA that the driver serves; None without a driver.
        gpu: Name of the first GPU; None without one.
        target: Its compute capability, such as `sm87`.
        jetpack: Version of a Jetson's JetPack.
    """

    prefix: ClassVar[str] = "host."

    platform: str
    cuda: str | None = None
    gpu: str | None = None
    target: Target | None = None
    jetpack: str | None = None
    driver: str | None = None

    def __str__(self) -> str:
        """Say it in a few words."""
        gpu = f"{self.gpu} ({self.target})" if self.gpu else "no GPU"
        jetpack = f", JetPack {self.jetpack}" if self.jetpack else ""
        return f"{gpu}, {self.platform}{jetpack}"


def _driver_version(path: Path = Path("/proc/driver/nvidia/version")) -> str | None:
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    found = re.search(r"Kernel Module.*?\s(\d+(?:\.\d+)+)\s", text)
    return found[1] if found else None


def this_host() -> tuple[Host, Gpu | None]:
    """Look at this machine."""
    try:
        driver: Driver | None = ask_driver()
    except OSError:
        driver = None
    gpu = next(iter(driver.gpus), None) if driver else None
    jetson = find_jetson()
    return (
        Host(
            f"{platform.system().lower()}-{platform.machine().lower()}",
            driver.cuda if driver else None,
            gpu.name if gpu else None,
            gpu.target if gpu else None,
            jetson.jetpack if jetson else None,
            _driver_version(),
        ),
        gpu,
    )

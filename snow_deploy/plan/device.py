"""Devices that times are predicted for: what their data sheets say, and how one is named."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

from snow_deploy.errors import PlanError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from snow_runtime.graph.manifest import Precision

Generation = Literal["Ampere and Ada", "Volta", "Pascal"]


@dataclass(frozen=True)
class Device:
    """One device, by its data sheet.

    Attributes:
        name: Name on the command line.
        title: Name for people.
        generation: GPU architecture; what a layer costs is known for each.
        clock_ghz: Highest clock of the GPU, in GHz.
        memory_gb_s: Bandwidth of its memory, in GB/s.
        tera_ops: Dense arithmetic of the GPU alone by precision, in 10^12 operations a second; a
            multiply-add is two.
        target: What TensorRT-RTX compiles for in its place: its own capability, or the nearest.
        capability: Its own.
    """

    name: str
    title: str
    generation: Generation
    clock_ghz: float
    memory_gb_s: float
    tera_ops: Mapping[Precision, float] = field(hash=False)
    target: str
    capability: str


_AMPERE: Final = "Ampere and Ada"

_LIST: Final = (
    Device(
        name="l4",
        title="L4",
        generation=_AMPERE,
        clock_ghz=2.04,
        memory_gb_s=300,
        tera_ops={"fp16": 121, "int8": 242},
        target="sm89",
        capability="sm89",
    ),
    Device(
        name="a2",
        title="A2",
        generation=_AMPERE,
        clock_ghz=1.77,
        memory_gb_s=200,
        tera_ops={"fp16": 18, "int8": 36},
        target="sm86",
        capability="sm86",
    ),
    Device(
        name="agx-orin-64gb",
        title="Jetson AGX Orin 64 GB",
        generation=_AMPERE,
        clock_ghz=1.3,
        memory_gb_s=204.8,
        tera_ops={"fp16": 42.5, "int8": 85},
        target="sm86",
        capability="sm87",
    ),
    Device(
        name="orin-nx-16gb",
        title="Jetson Orin NX 16 GB",
        generation=_AMPERE,
        clock_ghz=0.918,
        memory_gb_s=102.4,
        tera_ops={"fp16": 15, "int8": 30},
        target="sm86",
        capability="sm87",
    ),
    Device(
        name="orin-nano-8gb-super",
        title="Jetson Orin Nano 8 GB Super",
        generation=_AMPERE,
        clock_ghz=1.02,
        memory_gb_s=102.4,
        tera_ops={"fp16": 16.7, "int8": 33.5},
        target="sm86",
        capability="sm87",
    ),
    Device(
        name="agx-xavier",
        title="Jetson AGX Xavier",
        generation="Volta",
        clock_ghz=1.377,
        memory_gb_s=137,
        tera_ops={"fp16": 11, "int8": 22},
        target="sm75",
        capability="sm72",
    ),
    Device(
        name="xavier-nx",
        title="Jetson Xavier NX",
        generation="Volta",
        clock_ghz=1.1,
        memory_gb_s=59.7,
        tera_ops={"fp16": 6.7, "int8": 13.5},
        target="sm75",
        capability="sm72",
    ),
    Device(
        name="tx2",
        title="Jetson TX2",
        generation="Pascal",
        clock_ghz=1.3,
        memory_gb_s=59.7,
        tera_ops={"fp32": 0.67, "fp16": 1.33},
        target="sm75",
        capability="sm62",
    ),
)
DEVICES: Final = {device.name: device for device in _LIST}
"""By name. Jetsons in their fastest power mode; of a sparse figure, half is dense."""


def find_device(text: str) -> Device:
    """Return the device of a name; `Jetson`, capitals, blanks and dashes do not matter.

    Raises:
        PlanError: There is none; the message names the nearest.
    """
    short = {_plain(each): device for device in DEVICES.values() for each in _names(device)}
    found = short.get(_plain(text))
    if found is not None:
        return found
    near = difflib.get_close_matches(_plain(text), short, n=1, cutoff=0.5)
    hint = f"Did you mean {short[near[0]].name!r}? " if near else ""
    msg = (
        f"No figures of a device {text!r} are known. {hint}Known: {', '.join(DEVICES)}. For "
        "another, measure there with 'snow-deploy bench --json' and give that as --bench."
    )
    raise PlanError(msg)


def _names(device: Device) -> tuple[str, str]:
    return device.name, device.title


def _plain(text: str) -> str:
    return re.sub(r"[^a-z0-9]", "", text.lower()).removeprefix("nvidia").removeprefix("jetson")

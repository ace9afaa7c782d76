"""The machine that a measurement is made on: what of it explains the figures.

What cannot be read is None, and a note says why.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from typing import TYPE_CHECKING, Any, Final

from snow_runtime._version import __version__
from snow_runtime.machine.cpu import cpu_clocks_mhz, cpu_model
from snow_runtime.machine.driver import ask_driver
from snow_runtime.machine.jetson import find_jetson

if TYPE_CHECKING:
    from collections.abc import Callable

    from snow_runtime.doctor import Machine

_CPUS: Final = "sys/devices/system/cpu"
_PACKAGES: Final = ("numpy", "pillow", "onnxruntime", "tensorrt", "cuda-bindings", "cuda-python")
_GPU_CLOCKS: Final = ("gpu", "ga10b", "gv11b", "gp10b")  # what Jetsons call their GPU's clock
_SMI: Final = ("name", "driver_version", "clocks.sm", "clocks.max.sm", "clocks.mem", "power.limit")
_SMI_KEYS: Final = ("name", "driver", "mhz", "max_mhz", "memory_mhz", "power_limit_w")


def describe_versions(machine: Machine) -> dict[str, str]:
    """Return the versions of what the figures depend on."""
    installed = sorted(machine.versions().items())
    return {
        "snow-deploy": __version__,
        "python": platform.python_version(),
        **{name: version for name, version in installed if name.startswith(_PACKAGES)},
    }


def describe_machine(machine: Machine) -> tuple[dict[str, Any], list[str]]:
    """Tell what the machine is; plain JSON values, and notes on what could not be read."""
    notes: list[str] = []
    jetson = find_jetson(machine.root)
    document: dict[str, Any] = {
        "system": platform.platform(),
        "processor": cpu_model(machine.root)
        or (jetson.model if jetson else machine.text("proc/device-tree/model")),
        "cores": os.cpu_count(),
        "usable_cores": _usable_cores(),
        "memory_bytes": _memory_bytes(machine),
        "governor": _governor(machine, notes),
        "gpus": _gpus(machine, notes),
        "jetson": None,
    }
    if jetson is not None:
        document["jetson"] = {
            "model": jetson.model or None,
            "l4t": jetson.l4t,
            "jetpack": jetson.jetpack,
            "power_mode": _power_mode(machine, notes),
        }
    return document, notes


def read_state(
    machine: Machine, ask: Callable[[list[str]], str | None] | None = None, *, gpu: bool = True
) -> tuple[dict[str, Any], list[str]]:
    """Tell what changes while a machine works; plain JSON values, and notes as above.

    Args:
        machine: What is looked at.
        ask: Function that runs a command and returns what it prints, None where that fails; None
            for the system's own way.
        gpu: Whether the driver sees one, of which nvidia-smi may know more.
    """
    notes: list[str] = []
    gpus = _jetson_gpu_clocks(machine)
    if gpu and not gpus:
        gpus = _nvidia_smi(ask or ask_command, notes)
    return {
        "load_average_1min": _load_average(machine),
        "cpu_mhz": _cpu_clocks(machine, notes),
        "cpu_max_mhz": _mhz(machine, "scaling_max_freq"),
        "gpus": gpus,
    }, notes


def ask_command(command: list[str]) -> str | None:
    """Run a command; return what it prints, or None where it is missing, fails or hangs."""
    found = shutil.which(command[0])
    if found is None:
        return None
    try:
        return subprocess.run(  # noqa: S603 - a fixed command, found on the user's own path
            [found, *command[1:]], capture_output=True, text=True, check=True, timeout=20
        ).stdout
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return None


def _usable_cores() -> int | None:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on every system
        return os.cpu_count()


def _memory_bytes(machine: Machine) -> int | None:
    found = re.search(r"^MemTotal:\s+(\d+) kB$", machine.text("proc/meminfo") or "", re.MULTILINE)
    return 1024 * int(found[1]) if found else None


def _load_average(machine: Machine) -> float | None:
    try:
        return float((machine.text("proc/loadavg") or "").split()[0])
    except (IndexError, ValueError):
        return None


def _governor(machine: Machine, notes: list[str]) -> str | None:
    names = {
        text
        for folder in _cpu_folders(machine)
        if (text := machine.text(f"{_CPUS}/{folder}/cpufreq/scaling_governor"))
    }
    if not names:
        notes.append(
            f"CPU governor: not readable, there is no /{_CPUS}/cpu*/cpufreq/scaling_governor; "
            "virtual machines and containers often have none"
        )
    return ", ".join(sorted(names)) or None


def _cpu_clocks(machine: Machine, notes: list[str]) -> list[float] | None:
    """Return each core's clock, from the kernel's cpufreq or else from /proc/cpuinfo."""
    if clocks := _mhz(machine, "scaling_cur_freq"):
        return clocks
    listed = cpu_clocks_mhz(machine.root)
    if not listed:
        notes.append("CPU clocks: not readable, neither from cpufreq nor from /proc/cpuinfo")
    return listed or None


def _mhz(machine: Machine, name: str) -> list[float] | None:
    texts = [machine.text(f"{_CPUS}/{it}/cpufreq/{name}") for it in _cpu_folders(machine)]
    return [int(text) / 1e3 for text in texts if text and text.isdigit()] or None


def _cpu_folders(machine: Machine) -> list[str]:
    folders = (machine.root / _CPUS).glob("cpu[0-9]*")
    return sorted((folder.name for folder in folders), key=lambda name: (len(name), name))


def _gpus(machine: Machine, notes: list[str]) -> list[dict[str, Any]]:
    try:
        driver = ask_driver(machine.library)
    except OSError as error:
        notes.append(f"GPU: no NVIDIA driver that works ({error})")
        return []
    return [
        {"name": gpu.name, "target": gpu.target, "memory_bytes": gpu.memory_bytes}
        for gpu in driver.gpus
    ]


def _nvidia_smi(ask: Callable[[list[str]], str | None], notes: list[str]) -> list[dict[str, Any]]:
    listed = ask(["nvidia-smi", f"--query-gpu={','.join(_SMI)}", "--format=csv,noheader,nounits"])
    gpus = []
    for line in (listed or "").splitlines():
        cells = [cell.strip() for cell in line.split(",")]
        if len(cells) == len(_SMI):
            numbers = [_number(cell) for cell in cells[2:]]
            gpus.append(dict(zip(_SMI_KEYS, [*cells[:2], *numbers], strict=True)))
    if not gpus:
        notes.append("GPU clocks: not readable, nvidia-smi is not there or lists none")
    return gpus


def _jetson_gpu_clocks(machine: Machine) -> list[dict[str, Any]]:
    """Return the clocks of a Jetson's GPU, which nvidia-smi does not tell."""
    gpus = []
    for folder in sorted((machine.root / "sys/class/devfreq").glob("*")):
        if not any(part in folder.name for part in _GPU_CLOCKS):
            continue
        now, most, governor = (
            machine.text(f"sys/class/devfreq/{folder.name}/{name}")
            for name in ("cur_freq", "max_freq", "governor")
        )
        hertz = [_number(text or "") for text in (now, most)]
        mhz, max_mhz = (None if it is None else it / 1e6 for it in hertz)
        gpus.append({"name": folder.name, "mhz": mhz, "max_mhz": max_mhz, "governor": governor})
    return gpus


def _power_mode(machine: Machine, notes: list[str]) -> str | None:
    """Return the power mode's number, and its name where the list of modes can be read."""
    status = machine.text("var/lib/nvpmodel/status") or ""
    found = re.search(r"pmode:\s*(\d+)", status)
    if found is None:
        notes.append("Jetson power mode: not readable from /var/lib/nvpmodel/status")
        return None
    number = int(found[1])
    modes = machine.text("etc/nvpmodel.conf") or ""
    name = re.search(rf"^<\s*POWER_MODEL\s+ID={number}\s+NAME=(\S+)", modes, flags=re.MULTILINE)
    return f"{number} ({name[1]})" if name else str(number)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:  # such as [N/A]
        return None

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import pytest

from snow_runtime.bench.machine import (
    ask_command,
    describe_machine,
    describe_versions,
    read_state,
)
from snow_runtime.doctor import Machine
from tests.runtime.libcuda import LibCuda

if TYPE_CHECKING:
    from pathlib import Path

SMI = (
    "NVIDIA GeForce RTX 3090, 550.54, 210, 2100, 405, 350.00\nNVIDIA Tesla, 1, [N/A], [N/A], 5, 6\n"
)


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def no_library(name: str) -> Any:
    msg = f"{name}: not found"
    raise OSError(msg)


@pytest.fixture
def bare(tmp_path: Path) -> Machine:
    return Machine(tmp_path, dict, library=no_library)


def nobody(_command: list[str]) -> str | None:
    return None


def test_on_a_bare_machine_all_is_null_and_notes_say_why(bare: Machine) -> None:
    document, notes = describe_machine(bare)
    state, more = read_state(bare, nobody)

    assert document["governor"] is document["processor"] is document["jetson"] is None
    assert document["memory_bytes"] is None
    assert document["gpus"] == state["gpus"] == []
    assert state["cpu_mhz"] is state["cpu_max_mhz"] is state["load_average_1min"] is None
    for begin in ("CPU governor: ", "GPU: no NVIDIA driver", "CPU clocks: ", "GPU clocks: "):
        assert [note for note in notes + more if note.startswith(begin)], begin


def test_a_pc(tmp_path: Path) -> None:
    cpus = "sys/devices/system/cpu"
    write(
        tmp_path,
        {
            "proc/cpuinfo": "processor\t: 0\nmodel name\t: Some CPU @ 3 GHz\ncpu MHz\t: 1.5\n",
            "proc/meminfo": "MemTotal:       16384 kB\nMemFree: 1 kB\n",
            "proc/loadavg": "0.75 0.50 0.25 1/234 5678\n",
            f"{cpus}/cpu0/cpufreq/scaling_governor": "powersave\n",
            f"{cpus}/cpu0/cpufreq/scaling_cur_freq": "800000\n",
            f"{cpus}/cpu0/cpufreq/scaling_max_freq": "4000000\n",
            f"{cpus}/cpu10/cpufreq/scaling_governor": "performance\n",
            f"{cpus}/cpu10/cpufreq/scaling_cur_freq": "3000000\n",
            f"{cpus}/cpu2/cpufreq/scaling_cur_freq": "2000000\n",
            f"{cpus}/cpufreq/boost": "1\n",
        },
    )
    driver = LibCuda(("NVIDIA GeForce RTX 3090", 8, 6))
    machine = Machine(tmp_path, dict, library=lambda _name: driver)

    document, notes = describe_machine(machine)
    asked: list[list[str]] = []

    def smi(command: list[str]) -> str:
        asked.append(command)
        return SMI

    state, more = read_state(machine, smi)

    assert document["processor"] == "Some CPU @ 3 GHz"
    assert document["memory_bytes"] == 16 << 20
    assert document["governor"] == "performance, powersave"
    assert document["gpus"] == [
        {"name": "NVIDIA GeForce RTX 3090", "target": "sm86", "memory_bytes": 8 << 30}
    ]
    assert state["load_average_1min"] == 0.75
    assert state["cpu_mhz"] == [800, 2000, 3000]  # by the number of the core
    assert state["cpu_max_mhz"] == [4000]
    first, second = state["gpus"]
    assert first == {
        "name": "NVIDIA GeForce RTX 3090",
        "driver": "550.54",
        "mhz": 210,
        "max_mhz": 2100,
        "memory_mhz": 405,
        "power_limit_w": 350,
    }
    assert second["mhz"] is second["max_mhz"] is None
    assert asked[0][0] == "nvidia-smi"
    assert notes == more == []
    json.dumps([document, state], allow_nan=False)


def test_a_virtual_machine_tells_its_clock_in_another_place(tmp_path: Path, bare: Machine) -> None:
    write(tmp_path, {"proc/cpuinfo": "cpu MHz\t\t: 2445.4\ncpu MHz\t\t: 2445.5\n"})

    state, notes = read_state(bare, nobody, gpu=False)

    assert state["cpu_mhz"] == [2445.4, 2445.5]
    assert notes == []  # nothing to say of clocks of GPUs that are not there


@pytest.mark.parametrize(
    ("files", "mode"),
    [
        ({}, None),
        ({"var/lib/nvpmodel/status": "nonsense"}, None),
        ({"var/lib/nvpmodel/status": "pmode:0002\n"}, "2"),
        (
            {
                "var/lib/nvpmodel/status": "pmode:0002 fmode:quiet\n",
                "etc/nvpmodel.conf": "# < POWER_MODEL ID=2 NAME=OLD >\n"
                "< POWER_MODEL ID=0 NAME=15W >\n< POWER_MODEL ID=2 NAME=MAXN_SUPER >\n",
            },
            "2 (MAXN_SUPER)",
        ),
    ],
)
def test_a_jetson(tmp_path: Path, bare: Machine, files: dict[str, str], mode: str | None) -> None:
    gpu = "sys/class/devfreq/17000000.gpu"
    board = "NVIDIA Jetson Orin Nano"
    write(
        tmp_path,
        {
            "proc/device-tree/model": f"{board}\0",
            "etc/nv_tegra_release": "# R36 (release), REVISION: 4.3, GCID: 1\n",
            f"{gpu}/cur_freq": "306000000\n",
            f"{gpu}/max_freq": "1020000000\n",
            f"{gpu}/governor": "nvhost_podgov\n",
            "sys/class/devfreq/15340000.vic/cur_freq": "1\n",
            **files,
        },
    )

    document, notes = describe_machine(bare)
    state, _ = read_state(bare, nobody)

    assert document["processor"] == board
    assert document["jetson"]["jetpack"] == "6.1 or later"
    assert document["jetson"]["power_mode"] == mode
    assert any(note.startswith("Jetson power mode") for note in notes) == (mode is None)
    assert state["gpus"] == [
        {"name": "17000000.gpu", "mhz": 306, "max_mhz": 1020, "governor": "nvhost_podgov"}
    ]


def test_the_versions_that_matter(bare: Machine) -> None:
    installed = {"onnxruntime-gpu": "1.31", "numpy": "2.4", "requests": "2", "tensorrt-cu13": "11"}
    machine = Machine(bare.root, lambda: installed)

    assert describe_versions(machine) == {
        "snow-deploy": describe_versions(bare)["snow-deploy"],
        "python": sys.version.split()[0],
        "numpy": "2.4",
        "onnxruntime-gpu": "1.31",
        "tensorrt-cu13": "11",
    }


def test_commands() -> None:
    assert ask_command(["a-command-that-is-nowhere"]) is None
    assert ask_command([sys.executable, "-c", "raise SystemExit(3)"]) is None
    assert ask_command([sys.executable, "-c", "print('yes')"]) == "yes\n"


def test_this_machine_can_be_described() -> None:
    document, notes = describe_machine(Machine())
    state, more = read_state(Machine())

    json.dumps([document, state], allow_nan=False)
    assert document["usable_cores"] >= 1
    assert all(isinstance(note, str) for note in notes + more)

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from click.testing import CliRunner

from snow_deploy.cli import main
from snow_runtime.doctor import NEEDS, Finding, Machine, examine, unmet
from snow_runtime.doctor.backends import _ONE_RELU, check_onnxruntime, check_tensorrt
from snow_runtime.doctor.cameras import check_cameras, check_opencv
from snow_runtime.doctor.cuda import check_driver, check_jetson
from tests.runtime.libcuda import LibCuda as Driver

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
L4T = "# R{} (release), REVISION: {}, GCID: 1, BOARD: generic, EABI: aarch64, DATE: Fri\n"


def missing(name: str) -> Any:
    msg = f"No module named {name!r}"
    raise ModuleNotFoundError(msg, name=name)


def no_library(name: str) -> Any:
    msg = f"{name}: cannot open shared object file"
    raise OSError(msg)


@pytest.fixture
def bare(tmp_path: Path) -> Machine:
    """Make up a machine with nothing on it."""
    return Machine(tmp_path, dict, missing, no_library)


def with_modules(machine: Machine, **modules: Any) -> Machine:
    return replace(machine, load=lambda name: modules[name] if name in modules else missing(name))


class Runtime:
    """ONNX Runtime with providers that it was built with, of which some start."""

    __version__ = "1.31"

    def __init__(self, built: Sequence[str], starts: Sequence[str], error: str = "") -> None:
        self.built, self.starts, self.error = built, starts, error
        self.SessionOptions = SimpleNamespace

    def get_available_providers(self) -> list[str]:
        return list(self.built)

    def InferenceSession(  # noqa: N802
        self, model: bytes, options: Any, *, providers: list[str], enable_fallback: int
    ) -> Any:
        assert model == _ONE_RELU
        assert options.log_severity_level == 4
        assert enable_fallback == 0
        if providers[0] not in self.starts and self.error:
            raise RuntimeError(self.error)
        working = [*(p for p in providers if p in self.starts), CPU]
        return SimpleNamespace(get_providers=lambda: working)


def levels(findings: Sequence[Finding]) -> list[tuple[str, str]]:
    return [(finding.topic, finding.level) for finding in findings]


def test_on_a_bare_machine_all_is_absent_and_says_what_to_do(bare: Machine) -> None:
    found = examine(bare)

    assert {finding.level for finding in found} == {"absent"}
    assert all(finding.fix and finding.serves for finding in found)
    assert unmet(found, NEEDS) == list(NEEDS)


def test_the_probe_is_a_graph_that_runs() -> None:
    import onnxruntime

    session = onnxruntime.InferenceSession(_ONE_RELU, providers=[CPU])

    for value in (-2.0, 3.0):
        (answer,) = session.run(None, {"x": np.array([value], np.float32)})
        assert answer == [max(value, 0)]


def test_this_machine_runs_graphs_on_its_cpu() -> None:
    assert unmet(examine(), ["cpu"]) == []


def test_the_driver_and_its_gpus(bare: Machine) -> None:
    driver = Driver(("NVIDIA RTX A2000", 8, 6), ("NVIDIA L4", 8, 9))
    found = list(check_driver(replace(bare, library=lambda _: driver)))

    assert [finding.seen for finding in found] == [
        "serves CUDA up to 12.8",
        "0: NVIDIA RTX A2000, compute capability 8.6",
        "1: NVIDIA L4, compute capability 8.9",
    ]


def test_a_driver_that_does_not_start(bare: Machine) -> None:
    (found,) = check_driver(replace(bare, library=lambda _: Driver(status=999)))

    assert found.level == "problem"
    assert "error 999" in found.seen


def test_a_driver_without_a_gpu(bare: Machine) -> None:
    found = list(check_driver(replace(bare, library=lambda _: Driver())))

    assert levels(found) == [("NVIDIA driver", "ok"), ("GPU", "problem")]
    assert "CUDA_VISIBLE_DEVICES" in found[1].fix


@pytest.mark.parametrize(
    ("major", "revision", "level", "said"),
    [
        ("35", "4.1", "problem", "JetPack 5 with TensorRT 8.5, which is too old"),
        ("36", "3.0", "problem", "JetPack 6.0 with TensorRT 8.6, which is too old"),
        ("36", "4.3", "ok", "JetPack 6.1 or later with TensorRT 10.3"),
        ("38", "2.0", "ok", "JetPack 7 with TensorRT 10.13"),
        ("39", "2.1", "ok", "JetPack 7.2 or later with TensorRT 10.16"),
        ("41", "0.1", "ok", "JetPack newer than 7.2"),
        ("32", "7.1", "problem", "none that is known here"),
    ],
)
def test_jetpacks(bare: Machine, major: str, revision: str, level: str, said: str) -> None:
    (bare.root / "etc").mkdir()
    (bare.root / "etc/nv_tegra_release").write_text(L4T.format(major, revision))
    (bare.root / "proc/device-tree").mkdir(parents=True)
    (bare.root / "proc/device-tree/model").write_bytes(b"NVIDIA Jetson Orin Nano\0")

    (found,) = check_jetson(bare)

    assert found.level == level
    assert said in found.seen
    if level == "ok":
        assert found.seen.startswith("NVIDIA Jetson Orin Nano, L4T")


def test_a_jetson_container_without_its_release_file(bare: Machine) -> None:
    (bare.root / "proc/device-tree").mkdir(parents=True)
    (bare.root / "proc/device-tree/model").write_bytes(b"NVIDIA Jetson AGX Orin\0")

    (found,) = check_jetson(bare)

    assert found.level == "problem"


def test_other_machines_have_no_jetpack(bare: Machine) -> None:
    assert list(check_jetson(bare)) == []


def test_a_cpu_build(bare: Machine) -> None:
    machine = with_modules(bare, onnxruntime=Runtime([CPU], [CPU]))
    found = list(check_onnxruntime(machine))

    assert levels(found) == [
        ("ONNX Runtime", "ok"),
        ("ONNX Runtime on CPU", "ok"),
        ("ONNX Runtime on CUDA", "absent"),
    ]
    assert unmet(found, ["cpu", "cuda"]) == ["cuda"]


@pytest.mark.parametrize("error", ["", "libcudnn.so.9: cannot open shared object file"])
def test_a_silent_fall_back_to_the_cpu_is_a_problem(bare: Machine, error: str) -> None:
    machine = with_modules(bare, onnxruntime=Runtime([CUDA, CPU], [CPU], error))
    found = list(check_onnxruntime(machine))

    assert found[-1].level == "problem"
    assert (error or "works on CPUExecutionProvider") in found[-1].seen
    assert "without a word" in found[-1].fix
    assert unmet(found, ["cpu", "cuda"]) == ["cuda"]


def test_both_wheels_of_onnx_runtime(bare: Machine) -> None:
    machine = replace(
        with_modules(bare, onnxruntime=Runtime([CUDA, CPU], [CUDA, CPU])),
        versions=lambda: {"onnxruntime": "1.30", "onnxruntime-gpu": "1.31", "click": "8"},
    )
    found = list(check_onnxruntime(machine))

    assert levels(found)[0] == ("ONNX Runtime", "problem")
    assert "onnxruntime 1.30 and onnxruntime-gpu 1.31" in found[0].seen
    assert unmet(found, ["cpu", "cuda"]) == ["cuda"]


def test_tensorrt_there_absent_and_broken(bare: Machine) -> None:
    whole = SimpleNamespace(__version__="10.3.0", Builder=object)
    hollow = SimpleNamespace(__version__="1.7")

    found = list(check_tensorrt(with_modules(bare, tensorrt=whole, tensorrt_rtx_bindings=hollow)))
    assert levels(found) == [("TensorRT", "ok"), ("TensorRT-RTX", "problem")]
    assert "10.3.0" in found[0].seen
    assert levels(list(check_tensorrt(bare)))[0] == ("TensorRT", "absent")

    def broken(_: str) -> Any:
        msg = "libnvinfer.so.10: cannot open shared object file"
        raise ImportError(msg)

    assert "libnvinfer" in next(iter(check_tensorrt(replace(bare, load=broken)))).seen


@pytest.mark.parametrize(
    ("information", "level"),
    [
        ("  GStreamer:                   YES (1.20.3)\n", "ok"),
        ("  GStreamer:                   NO\n", "absent"),
        ("", "absent"),
    ],
)
def test_opencv_and_gstreamer(bare: Machine, information: str, level: str) -> None:
    cv2 = SimpleNamespace(__version__="4.13", getBuildInformation=lambda: information)
    found = list(check_opencv(with_modules(bare, cv2=cv2)))

    assert levels(found) == [("OpenCV", "ok"), ("GStreamer", level)]
    assert unmet(found, ["opencv"]) == []


def test_two_opencvs(bare: Machine) -> None:
    machine = replace(bare, versions=lambda: {"opencv-python": "4", "opencv-python-headless": "4"})

    assert levels(list(check_opencv(machine)))[0] == ("OpenCV", "problem")


def test_cameras_by_name_and_by_right(bare: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    (bare.root / "dev").mkdir()
    for name in ("video0", "video1"):
        (bare.root / "dev" / name).touch()
    names = bare.root / "sys/class/video4linux/video0"
    names.mkdir(parents=True)
    (names / "name").write_text("HD Webcam\n")
    monkeypatch.setattr("os.access", lambda path, _: str(path).endswith("0"))

    found = list(check_cameras(bare))

    assert [finding.level for finding in found] == ["ok", "problem"]
    assert found[0].seen == "/dev/video0 (HD Webcam)"
    assert "usermod -aG video" in found[1].fix
    assert unmet(found, ["camera"]) == []  # one works


def test_a_check_that_fails_is_a_finding(bare: Machine) -> None:
    def failing(_: str) -> Any:
        raise ZeroDivisionError

    found = examine(replace(bare, library=failing))

    assert ("check_driver", "problem") in levels(found)
    assert len(found) > 4


def test_the_command(monkeypatch: pytest.MonkeyPatch, bare: Machine) -> None:
    def run(*arguments: str) -> Any:
        return CliRunner().invoke(main, ["doctor", *arguments])

    monkeypatch.setattr("snow_runtime.doctor.Machine", lambda: bare)
    assert run().exit_code == 0
    assert "-> pip install" in run().stdout
    asked = run("--need", "cuda", "--need", "camera", "--json")
    assert asked.exit_code == 1
    assert json.loads(asked.stdout)["unmet"] == ["cuda", "camera"]
    assert "does not work here: cuda, camera" in asked.stderr


def test_needs_of_the_command_are_the_needs() -> None:
    command = main.get_command(None, "doctor")  # type: ignore[arg-type]

    assert command is not None
    choice = next(each for each in command.params if each.name == "needs").type
    assert tuple(choice.choices) == NEEDS  # type: ignore[attr-defined]

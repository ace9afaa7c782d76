"""What a user gets: the wheel with its own dependencies, in environments that hold nothing else."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from packaging.metadata import Metadata

from tests.release.conftest import ROOT, RTX

if TYPE_CHECKING:
    from tests.release.conftest import Environment

PACKAGES = {
    "snow_deploy": ".",
    "snow_export": "export",
    "snow_calibration": "calibration",
    "snow_runtime": "runtime",
}
PICTURES = "train=64&test=32&size=48"
PHOTO = "from PIL import Image; Image.new('RGB', (90, 60), 'red').save('photo.png')"


@pytest.fixture(scope="module")
def demo(workstation: Environment, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run the demo's quick form from the wheel."""
    folder = tmp_path_factory.mktemp("outside")
    workstation.run("snow-deploy", "demo", "--quick", "--output", "demo", cwd=folder)
    workstation.run("python", "-c", PHOTO, cwd=folder)
    return folder


def predict(environment: Environment, graph: str, folder: Path) -> dict[str, Any]:
    said = environment.run("snow-deploy", "predict", graph, "photo.png", "--json", cwd=folder)
    (photo,) = json.loads(said)
    tasks: dict[str, Any] = photo["tasks"]
    return tasks


def test_it_holds_the_packages_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}

    sources = {
        str(path.relative_to(ROOT / folder))
        for package, folder in PACKAGES.items()
        for path in (ROOT / folder / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert held == sources


def test_its_metadata_is_sound(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = Metadata.from_email(archive.read(name), validate=True)
        licences = [name for name in archive.namelist() if name.endswith("licenses/LICENSE")]

    assert str(metadata.version) in wheel.name
    assert metadata.description_content_type == "text/markdown"
    assert metadata.license_expression == "Apache-2.0"
    assert len(licences) == 1


def test_all_four_packages_come_from_it(workstation: Environment, tmp_path: Path) -> None:
    script = f"for name in {tuple(PACKAGES)}: print(__import__(name).__file__)"

    places = workstation.run("python", "-c", script, cwd=tmp_path).splitlines()

    assert len(places) == len(PACKAGES)
    assert all(Path(place).is_relative_to(workstation.folder) for place in places), places


def test_the_demo(demo: Path) -> None:
    assert "<html" in (demo / "demo" / "report.html").read_text(encoding="utf-8")
    assert (demo / "demo" / "snow.onnx").stat().st_size > 0


def test_from_the_demos_store_to_int8(workstation: Environment, demo: Path) -> None:
    def run(*words: str) -> str:
        return workstation.run("snow-deploy", *words, cwd=demo)

    data = [f"--data={task}=demo:{task}?{PICTURES}" for task in ("shape", "colour", "digit")]
    run("export", "--store", "demo/store", "-o", "snow.onnx")
    run("verify", "snow.onnx", "--store", "demo/store")
    run("calibrate", "snow.onnx", *data, "--max-drop", "100", "-o", "snow.int8.onnx")

    assert "no findings" in run("inspect", "snow.int8.onnx", "--int8")
    assert set(predict(workstation, "snow.int8.onnx", demo)) == {"shape", "colour", "digit"}
    if RTX:
        run("build-engine", "snow.int8.onnx", "--int8", "--target", "sm86,sm89")
        assert "int8" in run("inspect", "snow.int8.engine")


def test_a_device_answers_alike_without_pytorch(
    workstation: Environment, device: Environment, demo: Path
) -> None:
    script = "from importlib.metadata import distributions as all; print(*(d.name for d in all()))"
    installed = set(device.run("python", "-c", script, cwd=demo).split())

    assert "onnxruntime" in installed
    assert not installed & {"torch", "torchvision", "lightning", "onnx"}
    here, there = (predict(each, "demo/snow.onnx", demo) for each in (workstation, device))
    assert here == there

"""What a user gets: the built wheel in an environment of its own, from photos to engines."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from tests.docs.blocks import ROOT
from tests.docs.photos import SIZE, draw_photos, save_source
from tests.docs.sandbox import MADE_BY

RTX = importlib.util.find_spec("tensorrt_rtx_bindings") is not None
PACKAGES = ("snow_deploy", "snow_export", "snow_calibration", "snow_runtime")
SMALL = {
    "train": f"--source resnet18 --weights source.pth --recipe steady --epochs 1 --batch-size 16 "
    f"--image-size {SIZE} --no-baseline",
    "calibrate": "--max-drop 100",
}


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel and install it in a new environment, which sees what else is installed here.

    Only what lies in site-packages is seen: the path files of an editable install are not read.
    """
    pytest.importorskip("hatchling")
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    build = ["wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(ROOT)]
    subprocess.run([*pip, *build], check=True)
    (wheel,) = folder.glob("snow_deploy-*.whl")
    venv.create(folder / "env", with_pip=False, symlinks=True)
    new = folder / "env" / "bin" / "python"
    install = ["--python", str(new), "install", "--no-deps", "--no-index", str(wheel)]
    subprocess.run([*pip, *install], check=True)
    (own,) = (folder / "env" / "lib").glob("python*/site-packages")
    others = [path for path in sys.path if Path(path).name == "site-packages"]
    (own / "others.pth").write_text("\n".join(others) + "\n", encoding="utf-8")
    return new


def run(program: Path, *arguments: str, folder: Path) -> str:
    outside = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [str(program), *arguments],
        cwd=folder,
        env=outside | {"SNOW_DEPLOY_CACHE": str(folder / "cache")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, (arguments, done.stdout, done.stderr)
    return done.stdout


@pytest.mark.slow
def test_all_four_packages_come_from_the_wheel(python: Path, tmp_path: Path) -> None:
    script = f"for name in {PACKAGES}: print(__import__(name).__file__)"

    places = run(python, "-c", script, folder=tmp_path).splitlines()

    assert len(places) == len(PACKAGES)
    assert all(Path(place).is_relative_to(python.parents[1]) for place in places), places


@pytest.mark.slow
def test_from_photos_to_engines_by_the_wheel(python: Path, tmp_path: Path) -> None:
    draw_photos(tmp_path, 12)
    save_source(tmp_path / "source.pth")
    program = python.with_name("snow-deploy")
    made = [name for name in MADE_BY if RTX or not name.endswith(".engine")]
    asked = ["predict snow.onnx photo.jpg --top 3", "inspect snow.int8.onnx --int8"]
    printed = {}
    for text in [*(text for name in made for text in MADE_BY[name]), *asked]:
        words = [*text.split(), *SMALL.get(text.split()[0], "").split()]
        printed[text] = run(program, *words, folder=tmp_path)

    assert all((tmp_path / name).exists() for name in made)
    assert "textures" in printed[asked[0]]
    assert "no findings" in printed[asked[1]]

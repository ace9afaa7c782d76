from __future__ import annotations

import genericpath
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from snow_runtime import install_hint
from snow_runtime.install_hint import pip_install

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("snow_deploy", "export", "calibration", "runtime")


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put the module where a wheel would; return its folder of metadata."""
    site = tmp_path / "lib" / "site-packages"
    (site / "snow_runtime").mkdir(parents=True)
    monkeypatch.setattr(install_hint, "_HERE", site / "snow_runtime" / "install_hint.py")
    info = site / "snow_deploy-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: snow-deploy\nVersion: 0.1.0\n")
    monkeypatch.setattr(sys, "path", [str(site)])
    return info


def test_in_a_clone_the_command_names_the_clone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    assert pip_install("cpu,camera") == "pip install -e '.[cpu,camera]'"
    monkeypatch.chdir(tmp_path)
    assert shlex.split(pip_install("camera")) == ["pip", "install", "-e", f"{ROOT}[camera]"]


def test_a_copied_source_tree_is_a_clone_too_whatever_its_folder_is_called(tmp_path: Path) -> None:
    clone = tmp_path / "it's mine"
    (clone / "runtime").mkdir(parents=True)
    shutil.copy(ROOT / "pyproject.toml", clone)
    shutil.copytree(
        ROOT / "runtime/snow_runtime",
        clone / "runtime/snow_runtime",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    code = "from snow_runtime.install_hint import pip_install; print(pip_install('cpu'))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={"PYTHONPATH": str(clone / "runtime")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert shlex.split(done.stdout) == ["pip", "install", "-e", f"{clone}[cpu]"]


def test_a_project_around_the_package_is_not_its_clone(installed: Path) -> None:
    other = installed.parents[1] / "pyproject.toml"
    other.write_text('[project]\nname = "somebodys-app"\ndependencies = ["snow-deploy"]\n')
    assert "-e" not in shlex.split(pip_install("cpu"))


@pytest.mark.parametrize(
    ("noted", "expected"),
    [
        (
            {"url": "https://host/w.whl", "archive_info": {}},
            "snow-deploy[cpu] @ https://host/w.whl",
        ),
        (
            {"url": "https://host/snow.git", "vcs_info": {"vcs": "git", "commit_id": "0"}},
            "snow-deploy[cpu] @ git+https://host/snow.git@0",
        ),
        (
            {"url": "https://host/snow.git", "vcs_info": {"vcs": "git"}},
            "snow-deploy[cpu] @ git+https://host/snow.git",
        ),
        ({"url": None}, "/path/to/snow_deploy-0.1.0-py3-none-any.whl[cpu]"),
        ({"url": "file://[host"}, "/path/to/snow_deploy-0.1.0-py3-none-any.whl[cpu]"),
        ({"url": "file:///a%00b"}, "/path/to/snow_deploy-0.1.0-py3-none-any.whl[cpu]"),
        ({"url": "file:///not/there.whl"}, "/path/to/snow_deploy-0.1.0-py3-none-any.whl[cpu]"),
        ({}, "/path/to/snow_deploy-0.1.0-py3-none-any.whl[cpu]"),
        ([], "/path/to/snow_deploy-0.1.0-py3-none-any.whl[cpu]"),
        (None, "/path/to/snow_deploy-0.1.0-py3-none-any.whl[cpu]"),
    ],
)
def test_of_a_wheel_the_command_names_where_it_came_from(
    installed: Path, noted: object, expected: str
) -> None:
    if noted is not None:
        (installed / "direct_url.json").write_text(json.dumps(noted))
    assert shlex.split(pip_install("cpu")) == ["pip", "install", expected]


def test_a_wheels_file_or_a_folder_that_is_still_there_is_named(
    installed: Path, tmp_path: Path
) -> None:
    wheel = tmp_path / "my wheels" / "snow_deploy-0.1.0-py3-none-any.whl"
    wheel.parent.mkdir()
    wheel.touch()
    (installed / "direct_url.json").write_text(json.dumps({"url": wheel.as_uri()}))
    assert shlex.split(pip_install("mqtt")) == ["pip", "install", f"{wheel}[mqtt]"]


def test_a_wheel_in_a_folder_of_somebody_else_does_not_hide_the_error(
    installed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A service's user often may not look where the administrator had the wheel."""
    (installed / "direct_url.json").write_text(json.dumps({"url": "file:///admin/snow.whl"}))
    stat = os.stat

    def refuse(path: str | os.PathLike[str] | int, **how: Any) -> os.stat_result:
        if isinstance(path, (str, os.PathLike)) and os.fspath(path).startswith("/admin"):
            raise PermissionError(13, "Permission denied", os.fspath(path))
        return stat(path, **how)

    monkeypatch.setattr(os, "stat", refuse)
    monkeypatch.setattr(os.path, "exists", genericpath.exists)
    assert pip_install("cpu").endswith("-py3-none-any.whl[cpu]'")


def test_damaged_notes_do_not_hide_the_error_that_they_are_for(installed: Path) -> None:
    (installed / "direct_url.json").write_text("{")
    assert pip_install("cpu").endswith("-py3-none-any.whl[cpu]'")


def test_no_message_writes_the_command_itself() -> None:
    written = re.compile(r"snow-deploy\[\w")
    found = [
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
        for line in path.read_text().splitlines()
        if written.search(line)
    ]
    assert found == []


def test_every_extra_that_a_message_names_is_one_of_ours() -> None:
    metadata = (ROOT / "pyproject.toml").read_text()
    offered = metadata.partition("[project.optional-dependencies]")[2].partition("\n[")[0]
    ours = set(re.findall(r"^([\w-]+) = \[", offered, re.MULTILINE))
    asked = {
        extra
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
        for call in re.findall(r"(?:pip_install\(|extra=)['\"]([\w,-]+)['\"]", path.read_text())
        for extra in call.split(",")
    }
    assert asked >= {"cpu", "camera", "tensorrt", "train"}
    assert asked <= ours

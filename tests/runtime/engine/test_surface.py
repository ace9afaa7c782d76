from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from typing import Any

import pytest

from tests.runtime.engine import surface

BINDINGS = {"tensorrt": "tensorrt_bindings", "tensorrt-rtx": "tensorrt_rtx_bindings"}


def dump_of(bindings: str) -> dict[str, Any]:
    """Import bindings in a process of its own: they warn, and their libraries stay loaded."""
    if importlib.util.find_spec(bindings) is None:
        pytest.skip(f"{bindings} is not installed")
    if bindings == "tensorrt_bindings" and shutil.which("cc") is None:
        pytest.skip("no C compiler is here to make the libraries that the bindings ask for")
    command = [sys.executable, "-W", "ignore", surface.__file__, bindings]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    found: dict[str, Any] = json.loads(result.stdout)
    return found


@pytest.mark.tensorrt
@pytest.mark.parametrize("family", BINDINGS)
def test_what_is_committed_is_in_the_real_bindings(family: str) -> None:
    real = dump_of(BINDINGS[family])
    major, minor, _ = real["version"].split(".", 2)
    of_family = [it for it in surface.names() if it.rpartition("-")[0] == family]
    of_major = {it: surface.read(it) for it in of_family if it.startswith(f"{family}-{major}.")}
    if not of_major:
        pytest.skip(f"{family} {real['version']} is installed, and no surface of {major}.x is here")

    committed = of_major.get(f"{family}-{major}.{minor}")
    if committed is not None and committed["version"] == real["version"]:
        assert committed == real
    for name, expected in of_major.items():
        older = int(name.rpartition(".")[2]) <= int(minor)
        for kind in ("classes", "enumerations") if older else ():
            for title, members in expected[kind].items():
                assert not set(members) - set(real[kind].get(title, ())), (name, title)


@pytest.mark.parametrize("name", surface.names())
def test_the_files_are_as_the_script_writes_them(name: str) -> None:
    path = surface.SURFACES / f"{name}.json"

    assert surface.to_text(surface.read(name)) == path.read_text(encoding="utf-8")
    assert surface.read(name)["version"].startswith(name.rpartition("-")[2])


def test_what_the_versions_differ_in() -> None:
    surfaces = {name: surface.read(name) for name in surface.names()}
    assert set(surfaces) == {
        "tensorrt-10.3",
        "tensorrt-10.16",
        "tensorrt-11.4",
        "tensorrt-rtx-1.7",
    }

    def having(kind: str, title: str, member: str) -> set[str]:
        return {it for it, found in surfaces.items() if member in found[kind].get(title, ())}

    ten = {"tensorrt-10.3", "tensorrt-10.16"}
    assert having("enumerations", "BuilderFlag", "FP16") == ten
    assert having("enumerations", "NetworkDefinitionCreationFlag", "EXPLICIT_BATCH") == ten
    assert having("classes", "IBuilderConfig", "set_compute_capability") == {"tensorrt-rtx-1.7"}
    assert having("classes", "Runtime", "get_engine_validity") == {"tensorrt-rtx-1.7"}
    assert having("classes", "IBuilderConfig", "progress_monitor") == set(surfaces)

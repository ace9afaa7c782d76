from __future__ import annotations

import subprocess
import sys

import pytest

import snow_runtime


def run_python(code: str, *arguments: str) -> str:
    """Run code in a fresh interpreter that finds the same packages as this one."""
    path = f"import sys; sys.path[:0] = {sys.path!r}\n"
    done = subprocess.run(
        [sys.executable, "-c", path + code, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_the_package_imports_nothing_heavy() -> None:
    heavy = ["torch", "torchvision", "onnxruntime", "onnx", "PIL", "numpy", "filelock"]
    loaded = run_python(f"import snow_runtime; print([m for m in {heavy!r} if m in sys.modules])")
    assert loaded.strip() == "[]"


def test_every_public_name_can_be_imported() -> None:
    for name in snow_runtime.__all__:
        assert getattr(snow_runtime, name) is not None
    assert set(snow_runtime.__all__) <= set(dir(snow_runtime))


def test_a_misspelt_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'lode'"):
        getattr(snow_runtime, "lode")  # noqa: B009 - a plain access would not pass mypy


def test_the_version_has_three_numbers() -> None:
    assert all(part.isdigit() for part in snow_runtime.__version__.split(".")[:2])

from __future__ import annotations

import re
from typing import TYPE_CHECKING, get_args

import onnx
import pytest
from click.testing import CliRunner, Result

from snow_deploy.cli import main
from snow_runtime.graph.manifest import METADATA_KEY, Layout, Manifest

if TYPE_CHECKING:
    from pathlib import Path

    from snow_deploy.training.store import Store


def export(store: Store, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["export", "--store", str(store.root), *arguments])


def manifest_of(path: Path) -> Manifest:
    properties = {item.key: item.value for item in onnx.load(path).metadata_props}
    return Manifest.from_json(properties[METADATA_KEY])


def outputs(path: Path) -> list[str]:
    return [output.name for output in onnx.load(path).graph.output]


def test_tasks_in_the_order_given(trained_store: Store, tmp_path: Path) -> None:
    path = tmp_path / "snow.onnx"

    result = export(trained_store, "--tasks", "shape, digit", "-o", str(path))

    assert result.exit_code == 0, result.output
    assert outputs(path) == ["shape", "digit"]
    assert manifest_of(path).layout == "fused"
    shape, digit, file = result.stdout.splitlines()
    parity = r" +largest error \d\.\de-\d\d at logits up to \d+\.\d, same top-1 100%"
    assert re.fullmatch(f"shape{parity}", shape)
    assert re.fullmatch(f"digit{parity}", digit)
    assert file == f"{path}  {path.stat().st_size / 1e6:.1f} MB"


def test_every_task_by_default_into_the_working_folder(
    trained_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    result = export(trained_store, "--layout", "separate", "--with-source")

    assert result.exit_code == 0, result.output
    assert outputs(tmp_path / "snow.onnx") == ["source", "digit", "shape"]
    assert manifest_of(tmp_path / "snow.onnx").layout == "separate"
    assert [line.split()[0] for line in result.stdout.splitlines()[:3]] == outputs(
        tmp_path / "snow.onnx"
    )


@pytest.mark.slow
def test_the_fastest_layout(trained_store: Store, tmp_path: Path) -> None:
    path = tmp_path / "snow.onnx"

    result = export(trained_store, "--layout", "auto", "-o", str(path))

    assert result.exit_code == 0, result.output
    line = result.stdout.splitlines()[0]
    times = {name: float(taken) for name, taken in re.findall(r"(\w+) ([\d.]+) ms", line)}
    assert set(times) == set(get_args(Layout))
    chosen = manifest_of(path).layout
    assert line.startswith(f"layout {chosen}: ")
    assert times[chosen] == min(times.values())


@pytest.mark.parametrize(
    ("tasks", "message"),
    [
        ("shape,cars", "has no task 'cars' (it has: digit, shape)"),
        ("shape,shape", "shape is named twice"),
        ("", "there is no task to export"),
        ("shape,,digit", "an empty name is among the tasks"),
        ("source,shape", "ask for it with --with-source"),
        ("Shape", "A task cannot be called 'Shape'"),
    ],
)
def test_tasks_that_cannot_be_exported(
    trained_store: Store, tmp_path: Path, tasks: str, message: str
) -> None:
    result = export(trained_store, "--tasks", tasks, "-o", str(tmp_path / "snow.onnx"))

    assert result.exit_code == 1
    assert result.stderr.startswith("error: ")
    assert message in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_store_that_is_not_there(tmp_path: Path) -> None:
    arguments = ["export", "--store", str(tmp_path / "nowhere"), "--tasks", "shape"]

    result = CliRunner().invoke(main, arguments)

    assert result.exit_code == 1
    assert "nowhere holds no source" in result.stderr


def test_an_output_that_cannot_be_written(trained_store: Store, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("where a folder should be")

    result = export(trained_store, "--tasks", "shape", "-o", str(tmp_path / "file" / "snow.onnx"))

    assert result.exit_code == 1
    assert "snow.onnx cannot be written: " in result.stderr


def test_a_folder_is_no_output(trained_store: Store, tmp_path: Path) -> None:
    assert export(trained_store, "-o", str(tmp_path)).exit_code == 2


def test_an_order_of_channels_is_of_frames(trained_store: Store, tmp_path: Path) -> None:
    output = str(tmp_path / "x.onnx")
    arguments = ["export", "--store", str(trained_store.root), "-o", output, "--colour", "rgb"]

    result = CliRunner().invoke(main, arguments)

    assert result.exit_code == 2
    assert "give --input uint8 too" in " ".join(result.stderr.replace("│", " ").split())

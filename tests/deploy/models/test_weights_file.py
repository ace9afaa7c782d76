from __future__ import annotations

import argparse
import gzip
import io
import pickle
import random
import tarfile
import warnings
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from safetensors.torch import save
from torch import nn

from snow_deploy.errors import SourceError
from snow_deploy.models.weights_file import read_weights_file

if TYPE_CHECKING:
    from collections.abc import Callable

TENSORS = {"a": torch.arange(6.0).view(2, 3), "b": torch.ones(1)}


def torch_bytes(content: Any, *, old: bool = False) -> bytes:
    file = io.BytesIO()
    torch.save(content, file, _use_new_zipfile_serialization=not old)
    return file.getvalue()


def script_bytes() -> bytes:
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch advises torch.export
        torch.jit.save(torch.jit.script(nn.Sequential(nn.Linear(2, 2))), file)
    return file.getvalue()


def zip_bytes(**files: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return file.getvalue()


def tar_bytes(**files: bytes) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return file.getvalue()


def bomb_bytes() -> bytes:
    """A file of torch's whose one tensor is replaced by many zeros, compressed."""
    file = io.BytesIO()
    written = zipfile.ZipFile(io.BytesIO(torch_bytes(TENSORS)))
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in written.namelist():
            is_tensor = name.endswith("data/0")
            archive.writestr(name, bytes(1 << 22) if is_tensor else written.read(name))
    return file.getvalue()


@pytest.mark.parametrize("name", ["w.safetensors", "w.bin", "w.pth.tar", "weights"])
def test_the_content_decides_what_a_file_is(tmp_path: Path, name: str) -> None:
    path = tmp_path / name

    for content in (save(TENSORS), torch_bytes(TENSORS), torch_bytes(TENSORS, old=True)):
        path.write_bytes(content)
        read = read_weights_file(path).content
        assert all(torch.equal(read[key], value) for key, value in TENSORS.items())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: b"", r"it is empty \(0 bytes\)"),
        (script_bytes, "TorchScript program"),
        (lambda: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
        (lambda: b"\n<!DOCTYPE html><html></html>", "page of HTML"),
        (lambda: gzip.compress(torch_bytes(TENSORS)), "gzip. Unpack it"),
        (lambda: zip_bytes(w=torch_bytes(TENSORS)), "zip archive of w. Unpack it"),
        (bomb_bytes, r"compressed, and would unpack to 0\.0 GiB"),
        (lambda: b'{\n "weight_map": {}}', "text in JSON, such as .* Give the file of the weights"),
        (lambda: b"\x89HDF\r\n\x1a\n" + bytes(64), "HDF5"),
        (lambda: torch_bytes(TENSORS)[:-200], "whose end is missing: it is cut short"),
        (lambda: b"Not\nfound", "text, which begins 'Not found'. Download"),
        (lambda: b"epoch,loss\n" * 99, "text, which begins 'epoch,loss epoch.*…'. Download"),
        (lambda: '["Zugriff verweigert: ä"]'.encode() * 40, "text, which begins"),
        (lambda: "<html><title>Sign in".encode("utf-16"), "page of HTML"),
        (lambda: tar_bytes(w=b"1"), "tar archive. Unpack it"),
        (lambda: b"\x93NUMPY" + bytes(99), "array of NumPy's"),
        (lambda: b"\x1c\0\0\0TFL3" + bytes(99), "TensorFlow Lite"),
        (lambda: b"ftrt" + bytes(99), "engine of TensorRT"),
        (lambda: bytes(999), "damaged or cut short .torch cannot read it"),
        (lambda: pickle.dumps({"a": 1}, protocol=4), "of another kind, or is damaged"),
    ],
    ids=[
        "empty",
        "script",
        "lfs",
        "html",
        "gzip",
        "zip",
        "bomb",
        "json",
        "hdf5",
        "cut",
        "words",
        "table",
        "list",
        "html in utf-16",
        "tar",
        "array",
        "tflite",
        "engine",
        "zeros",
        "pickle",
    ],
)
@pytest.mark.parametrize("suffix", ["pth", "ckpt"])
def test_files_of_other_kinds(
    tmp_path: Path, make: Callable[[], bytes], message: str, suffix: str
) -> None:
    path = tmp_path / f"w.{suffix}"
    path.write_bytes(make())

    with pytest.raises(SourceError, match=rf"w\.{suffix} cannot be read as .*{message}") as told:
        read_weights_file(path)
    assert "weights_only" not in str(told.value)
    assert "pickle" not in str(told.value).lower()
    assert "\n" not in str(told.value)


def test_a_damaged_directory_of_a_zip_is_an_error_of_the_file(tmp_path: Path) -> None:
    """Names, sizes and places of what torch.save packs stand at the end of its file."""
    path, whole = tmp_path / "w.pth", torch_bytes(TENSORS)
    begin = whole.index(b"PK\x01\x02")
    refused = []
    for place in range(begin, len(whole), 3):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        try:
            read_weights_file(path)
        except SourceError as error:
            refused.append(str(error))
    assert len(refused) > (len(whole) - begin) / 20
    for message in refused:
        assert "w.pth cannot be read as a file of tensors: " in message
        assert "(101)" not in message
    path.write_bytes(b"\0hello, no pickle")
    with pytest.raises(SourceError, match=r"damaged or cut short \(torch cannot read it\)"):
        read_weights_file(path)


def test_a_folder_and_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="is a folder"):
        read_weights_file(tmp_path)
    with pytest.raises(SourceError, match="there is no weights file"):
        read_weights_file(tmp_path / "none.ckpt")
    with pytest.raises(SourceError, match=r"cannot be read: .*too long"):
        read_weights_file(tmp_path / f"{'x' * 300}.pth")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([".metadata", "__0_0.distcp"], r"in pieces.*dcp_to_torch .* weights\.pth"),
        (["zero_to_fp32.py", "latest"], r"DeepSpeed.*zero_to_fp32\.py in it"),
        (["b.pth", "a.safetensors"], r"file of weights in it: it holds a\.safetensors, b\.pth$"),
        (["notes.txt"], "file of weights in it$"),
    ],
)
def test_a_folder_says_which_file_to_give(tmp_path: Path, names: list[str], message: str) -> None:
    for name in names:
        (tmp_path / name).touch()

    with pytest.raises(SourceError, match=message):
        read_weights_file(tmp_path)


def test_a_graph_is_told_by_its_name(tmp_path: Path) -> None:
    path = tmp_path / "snow.onnx"
    path.write_bytes(b"\x08\x0a\x12\x04snow" + bytes(99))

    with pytest.raises(SourceError, match=r"an ONNX graph, whose layers are merged"):
        read_weights_file(path)


@pytest.mark.parametrize("old", [False, True])
def test_flipped_bits_give_a_source_error_or_load(tmp_path: Path, old: bool) -> None:
    """Of the archive's directory too, which Python and torch read each in its own way."""
    whole, path = torch_bytes(TENSORS, old=old), tmp_path / "w.pth"
    draw, told = random.Random(0), list[str]()
    for _ in range(150):
        content = bytearray(whole)
        for _ in range(draw.randint(1, 3)):
            content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
        path.write_bytes(content)
        try:
            read_weights_file(path)
        except SourceError as error:
            told.append(str(error))
    assert told
    assert not any("\n" in each for each in told)


def test_a_whole_network_is_told_as_one(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    torch.save(nn.Sequential(nn.Conv2d(3, 4, 1)), path)

    with pytest.raises(SourceError, match=r"a whole network as Python objects \(torch\.nn") as told:
        read_weights_file(path)
    assert "torch.save(model.state_dict()" in str(told.value)
    assert "weights_only" not in str(told.value)


class Written:
    """Unpickled, it would write a file; its class stands in for anybody's."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.target,))


class Chosen:
    """Unpickled, it would call what it is told."""

    def __init__(self, call: Any, *arguments: Any) -> None:
        self.call, self.arguments = call, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return (self.call, self.arguments)


@pytest.mark.parametrize("old", [False, True])
def test_code_beside_the_weights_is_refused_and_not_run(tmp_path: Path, old: bool) -> None:
    proof, path = tmp_path / "executed", tmp_path / "w.pth"
    for attack in (Written(proof), Chosen(eval, "1"), Chosen(getattr, Path, "touch")):
        torch.save(
            {"state_dict": TENSORS, "args": attack}, path, _use_new_zipfile_serialization=not old
        )
        with pytest.raises(SourceError, match=r"holds other things than tensors \(|another kind"):
            read_weights_file(path)
    assert not proof.exists()


def test_classes_of_settings_are_not_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What stands for a class takes its name alone."""
    path = tmp_path / "w.pth"
    made: list[int] = []
    known = set(torch.serialization.get_safe_globals())
    monkeypatch.setattr("argparse.Namespace.__setattr__", lambda *_: made.append(1), raising=False)

    torch.save({"model": TENSORS, "args": argparse.Namespace(), "out": Path("x")}, path)

    content = read_weights_file(path).content

    assert not isinstance(content["args"], argparse.Namespace)
    assert not isinstance(content["out"], Path)
    assert vars(content["args"]) == {}
    assert not made
    assert set(torch.serialization.get_safe_globals()) == known

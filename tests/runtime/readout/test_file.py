"""A readout's file: what is written is read, and whatever happens to it is told in a line."""

from __future__ import annotations

import hashlib
import json
import os
import struct
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from safetensors.numpy import load, save

from snow_runtime.errors import ManifestError, ReadoutError
from snow_runtime.readout.file import ReadoutFile
from tests.runtime.readout.graphs import TAPS, changed, feature_graph, make_readout

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

KEY = "snow_deploy.readout"


@pytest.fixture
def readout(tmp_path: Path) -> ReadoutFile:
    return make_readout(feature_graph(tmp_path / "graph.onnx"))


@pytest.fixture
def path(readout: ReadoutFile, tmp_path: Path) -> Path:
    readout.write(tmp_path / "door.readout")
    return tmp_path / "door.readout"


def metadata_in(path: Path) -> dict[str, str]:
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    found: dict[str, str] = json.loads(content[8 : 8 + length])["__metadata__"]
    return found


def facts_in(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(metadata_in(path)[KEY])
    return found


def test_what_is_written_is_read(readout: ReadoutFile, path: Path) -> None:
    found = ReadoutFile.read(path)

    assert found.facts == readout.facts
    assert (found.name, found.labels) == ("door", ("cat", "dog", "none"))
    assert found.index.tolist() == [0, 2, 4, 6, 7]
    np.testing.assert_array_equal(found.weight, readout.weight)
    np.testing.assert_array_equal(found.bias, readout.bias)


def test_anybody_can_read_it(readout: ReadoutFile, path: Path) -> None:
    """By the published format of safetensors and of JSON, with neither of our readers."""
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    begin, end = header["weight"]["data_offsets"]
    body = content[8 + length :]
    weight = np.frombuffer(body[begin:end], "<f4").reshape(header["weight"]["shape"])
    facts = facts_in(path)

    np.testing.assert_array_equal(weight, readout.weight)
    assert facts["task"]["selections"] == {"stem": [0, 2], "block": [1, 3, 4]}
    assert facts["task"]["labels"] == ["cat", "dog", "none"]
    assert facts["source"]["sha256"] == "a" * 64
    assert facts["fit"]["counts"] == [10, 10, 10]
    assert len(content) < 4000


def test_the_hash_is_that_of_everything(readout: ReadoutFile, path: Path) -> None:
    metadata = metadata_in(path)
    content = metadata[KEY].encode() + readout.bias.tobytes() + readout.weight.tobytes()

    assert metadata["sha256"] == hashlib.sha256(content).hexdigest()


def test_a_file_of_an_older_version_is_read(readout: ReadoutFile, path: Path) -> None:
    """One whose document lacks a field that was added later, with a default."""
    rewritten(path, lambda facts: facts["task"].pop("data"), sign=True)

    assert "data" not in facts_in(path)["task"]
    assert ReadoutFile.read(path).facts == readout.facts


@pytest.fixture
def read_as(path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], ReadoutFile]:
    """Read the file as if that were in it; thousands of files take long to write."""

    def read(content: bytes) -> ReadoutFile:
        monkeypatch.setattr("snow_runtime.readout.file._content", lambda _: content)
        return ReadoutFile.read(path)

    return read


def test_cut_at_any_length_it_is_refused(
    path: Path, read_as: Callable[[bytes], ReadoutFile]
) -> None:
    content = path.read_bytes()
    for length in range(len(content)):
        with pytest.raises(ReadoutError, match=r"door\.readout is damaged or of another kind"):
            read_as(content[:length])


@pytest.mark.parametrize("flip", [0x01, 0x80, 0xFF])
def test_with_any_byte_changed_it_is_refused(
    path: Path, read_as: Callable[[bytes], ReadoutFile], flip: int
) -> None:
    content = path.read_bytes()
    for place, byte in enumerate(content):
        with pytest.raises(ReadoutError, match=r"door\.readout is damaged") as caught:
            read_as(content[:place] + bytes([byte ^ flip]) + content[place + 1 :])
        assert "\n" not in str(caught.value)


def test_with_bytes_added_it_is_refused(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(ReadoutError, match="is damaged or of another kind"):
        ReadoutFile.read(path)


def signed(tensors: dict[str, NDArray[Any]], text: str) -> bytes:
    """Make a file whose hash is right, whatever is in it."""
    digest = hashlib.sha256(text.encode())
    for name in ("bias", "weight"):
        digest.update(tensors.get(name, np.empty(0)).tobytes())
    return save(tensors, metadata={KEY: text, "sha256": digest.hexdigest()})


def rewritten(path: Path, change: Callable[[dict[str, Any]], object], *, sign: bool) -> None:
    """Change the facts in a file, and leave the rest."""
    facts = facts_in(path)
    change(facts)
    tensors = {name: np.array(values) for name, values in load(path.read_bytes()).items()}
    metadata = {**metadata_in(path), KEY: json.dumps(facts)}
    content = signed(tensors, metadata[KEY]) if sign else save(tensors, metadata=metadata)
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda facts: facts.update(format=2), "its format is 2, expected 1"),
        (lambda facts: facts.pop("source"), "expected a field 'source' in it"),
        (lambda facts: facts.update(more=1), "a field in the document is 'more'"),
        (lambda facts: facts["task"].update(name="../x"), "cannot be called '../x'"),
        (lambda facts: facts["task"].update(name="source"), "cannot be called 'source'"),
        (lambda facts: facts["task"].update(selections={}), "expected one tap or more"),
        (
            lambda facts: facts["task"].update(selections={"stem": [0, 3]}),
            "expected channels below 3",
        ),
        (lambda facts: facts["task"].update(selections={"tail": [0]}), "one of the taps stem"),
        (
            lambda facts: facts["task"].update(selections={"stem": [0]}),
            r"is \[3, 5\], expected \[3, 1\]",
        ),
        (lambda facts: facts.update(check_logits=[1.0]), "expected one for each of 3 labels"),
        (lambda facts: facts["fit"].update(accuracy=float("nan")), "fit.accuracy is nan"),
    ],
)
def test_facts_that_are_wrong_are_refused(
    path: Path, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    rewritten(path, change, sign=True)
    with pytest.raises(ReadoutError, match=message):
        ReadoutFile.read(path)


def test_facts_that_were_changed_are_refused(path: Path) -> None:
    rewritten(path, lambda facts: facts["fit"].update(pictures=31), sign=False)
    with pytest.raises(ReadoutError, match="its content does not match its hash"):
        ReadoutFile.read(path)


@pytest.mark.parametrize(
    "tensors",
    [
        {},
        {"weight": np.zeros((3, 5), "f4")},
        {"weight": np.zeros((3, 5), "f4"), "bias": np.zeros(3, "f8")},
        {"weight": np.zeros(15, "f4"), "bias": np.zeros(3, "f4")},
        {"weight": np.zeros((3, 5), "f4"), "bias": np.zeros(3, "f4"), "c": np.zeros(1, "f4")},
    ],
)
def test_other_tensors_are_refused(path: Path, tensors: dict[str, Any]) -> None:
    path.write_bytes(signed(tensors, json.dumps(facts_in(path))))
    with pytest.raises(ReadoutError, match="expected float32 weight"):
        ReadoutFile.read(path)


@pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n", b"{}", b"PK\3\4" + bytes(500)])
def test_files_of_other_kinds_are_refused(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(ReadoutError, match="it is no file of a readout"):
        ReadoutFile.read(path)
    path.write_bytes(save({"weight": np.zeros((3, 5), "f4")}))  # a safetensors file of others
    with pytest.raises(ReadoutError, match="it is no file of a readout"):
        ReadoutFile.read(path)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for place, message in (
        (tmp_path / "none.readout", "does not exist, expected a readout"),
        (tmp_path, "is no plain file, expected a readout"),
        (tmp_path / "pipe", "is no plain file, expected a readout"),
        ("a\0b", r"(does not exist|cannot be read)"),
    ):
        with pytest.raises(ReadoutError, match=message):
            ReadoutFile.read(place)
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(ReadoutError, match="has 1099511627776 bytes, expected a readout"):
        ReadoutFile.read(tmp_path / "huge")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_no_numbers_are_refused(
    readout: ReadoutFile, path: Path, value: float
) -> None:
    weight = readout.weight.copy()
    weight[1, 2] = value
    with pytest.raises(ReadoutError, match="weight of the readout door has NaN or infinity"):
        ReadoutFile(readout.facts, weight, readout.bias)

    tensors = {"weight": weight, "bias": readout.bias}
    path.write_bytes(signed(tensors, readout.facts.to_json()))
    with pytest.raises(ReadoutError, match=r"door\.readout is not usable: The weight of"):
        ReadoutFile.read(path)


def test_a_label_more_than_weights_is_refused(readout: ReadoutFile) -> None:
    with pytest.raises(ManifestError, match="expected one for each of 4 labels"):
        changed(readout, task=replace(readout.facts.task, labels=("a", "b", "c", "d")))
    with pytest.raises(ManifestError, match="each of them once"):
        changed(readout, taps=(*TAPS, TAPS[0]))


def test_a_folder_that_cannot_be_written_to_keeps_the_old_file(
    readout: ReadoutFile, path: Path, mount_disk: Callable[[str], Path]
) -> None:
    with pytest.raises(ReadoutError, match=r"cannot be written: .*Nothing was changed"):
        readout.write(path.parent / "none" / "door.readout")

    disk = mount_disk("64k")
    there = disk / "door.readout"
    readout.write(there)
    before = there.read_bytes()
    (disk / "rest").write_bytes(bytes(os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize))
    with pytest.raises(ReadoutError, match=r"cannot be written: .*Nothing was changed"):
        make_readout_of(readout).write(there)
    assert there.read_bytes() == before
    assert sorted(each.name for each in disk.iterdir()) == ["door.readout", "rest"]


def make_readout_of(readout: ReadoutFile) -> ReadoutFile:
    """Give another one."""
    return ReadoutFile(readout.facts, readout.weight + 1, readout.bias)

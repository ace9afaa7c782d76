"""Files of a few bytes that would unfold to more than any memory, or overflow the stack."""

from __future__ import annotations

import argparse
import io
import pickle
import struct
import warnings
import zipfile
from collections import Counter, OrderedDict, defaultdict
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch import nn

from snow_deploy.errors import SourceError
from snow_deploy.models.pickle_bounds import OutOfBoundsError, check_bounds
from snow_deploy.models.weights_file import read_weights_file

if TYPE_CHECKING:
    from pathlib import Path

TENSORS = {"a": torch.arange(6.0).view(2, 3)}
BEGIN = b"\x80\x02"


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def number(value: int) -> bytes:
    return b"\x8a\x08" + struct.pack("<q", value)


def tensor(*sizes: int) -> bytes:
    """Write a tensor that repeats one value as often as is claimed."""
    storage = b"(" + text("storage") + b"ctorch\nFloatStorage\n" + text("0") + text("cpu")
    storage += number(6) + b"tQ"
    shape = b"(" + b"".join(map(number, sizes)) + b"t"
    strides = b"(" + number(0) * len(sizes) + b"t"
    begin = b"ctorch._utils\n_rebuild_tensor_v2\n("
    return begin + storage + number(0) + shape + strides + b"\x89ccollections\nOrderedDict\n)RtR"


def call(name: str, *arguments: bytes) -> bytes:
    module, _, function = name.rpartition(".")
    return f"c{module}\n{function}\n".encode() + b"(" + b"".join(arguments) + b"tR"


def doubled(times: int) -> bytes:
    """Write a tuple of a tuple twice, of a tuple twice, and so on."""
    steps = (b"h" + bytes([n]) + b"\x86q" + bytes([n + 1]) for n in range(times))
    return b")q\x00" + b"".join(steps)


HUGE = tensor(1 << 40, 512)
BOMBS = {
    "a key of tuples in tuples": (b"})" + b"\x85" * 1_000_000 + b"K\x01s", "nests more than 500"),
    "a key that doubles": (b"}" + doubled(60) + b"K\x01s", "unfold to more than any memory"),
    "many keys of one long tuple": (
        b"}(" + b"K\x01" * 5000 + b"tq\x000" + (b"h\x00K\x01s" * 100_000),
        "unfold to more than any memory",
    ),
    "an array of any size": (call("builtins.bytearray", number(1 << 40)), "calls builtins.byte"),
    "a storage of any size": (
        call("torch.storage.UntypedStorage", number(1 << 40)),
        r"calls torch\.storage",
    ),
    "another code": (call("_codecs.encode", text("a"), text("zip")), r"calls _codecs\.encode"),
    "rows for a set": (call("builtins.set", HUGE), "takes a tensor apart.*set"),
    "rows for pairs": (
        call("collections.OrderedDict", b"](" + HUGE + b"e"),
        "takes a tensor apart",
    ),
    "rows for arguments": (b"cbuiltins\nset\n" + HUGE + b"R", "takes a tensor apart"),
    "rows for a state": (tensor(1) + HUGE + b"b", "takes a tensor apart.*state"),
    "a copy of all rows": (
        call("torch._utils._rebuild_device_tensor_from_cpu_tensor", HUGE),
        "calls torch",
    ),
    "a call in a call": (
        call(
            "torch._tensor._rebuild_from_type_v2",
            *(b"cbuiltins\nbytearray\n", b"N", b"(" + number(1 << 40) + b"t", b"}"),
        ),
        r"calls builtins\.bytearray",
    ),
}


def zipped(data: bytes) -> bytes:
    """Put instructions into a file as torch writes it, in the place of its own."""
    written, made = io.BytesIO(), io.BytesIO()
    torch.save(TENSORS, written)
    with zipfile.ZipFile(written) as old, zipfile.ZipFile(made, "w") as new:
        for name in old.namelist():
            new.writestr(name, data if name.endswith("data.pkl") else old.read(name))
    return made.getvalue()


def legacy(data: bytes) -> bytes:
    """Put instructions into a file as torch before 1.6 wrote it."""
    machine = {"protocol_version": 1001, "little_endian": True}
    begin = (0x1950A86A20F9469CFC6C, 1001, machine)
    return b"".join(pickle.dumps(each, 2) for each in begin) + data + pickle.dumps([], 2)


@pytest.mark.parametrize("name", BOMBS)
@pytest.mark.parametrize("form", [zipped, legacy])
def test_what_would_unfold_is_refused_before_it_does(tmp_path: Path, name: str, form: Any) -> None:
    instructions, message = BOMBS[name]
    path = tmp_path / "w.pth"
    path.write_bytes(form(BEGIN + instructions + b"."))

    with pytest.raises(SourceError, match=rf"w\.pth cannot be read.*{message}") as told:
        read_weights_file(path)
    assert "\n" not in str(told.value)


def test_all_that_trainings_leave_is_within_bounds() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))
    optimizer = torch.optim.AdamW(network.parameters())
    network(torch.ones(2, 3, 1, 1)).sum().backward()
    optimizer.step()
    marked = nn.Parameter(torch.ones(2))
    marked.tag = "x"  # type: ignore[attr-defined]
    nested: Any = 1
    for _ in range(50):
        nested = [{"inner": (nested,)}]
    content = {
        "state_dict": network.state_dict(),
        "optimizer": optimizer.state_dict(),
        "beside": [bytearray(b"abc"), bytearray(), b"\xff\x00", 1j, {1}, frozenset([1]), nested],
        "history": list(range(20_000)),
        "numbers": [np.float64(1), np.arange(3), datetime(2020, 1, 1)],  # noqa: DTZ001
        "kinds": [
            argparse.Namespace(a=1),
            defaultdict(list, a=[1]),
            OrderedDict(a=1),
            Counter("a"),
        ],
        "torch": [torch.Size([1, 2]), torch.device("cpu"), torch.float16, torch.get_rng_state()],
        "tensors": [marked, torch.eye(3).to_sparse(), torch.ones(3).to(torch.float8_e4m3fn)],
    }
    for new in (True, False):
        file = io.BytesIO()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.save(content, file, _use_new_zipfile_serialization=new)
        if new:
            with zipfile.ZipFile(file) as archive:
                name = next(each for each in archive.namelist() if each.endswith("data.pkl"))
                file = io.BytesIO(archive.read(name))
        file.seek(0)
        check_bounds(file)


@pytest.mark.parametrize(
    "data", [b"", BEGIN, BEGIN + b"}", BEGIN + b"s.", BEGIN + b"K\x01]a.", b"x"]
)
def test_what_is_no_pickle_is_damaged(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        check_bounds(io.BytesIO(data))
    with pytest.raises(OutOfBoundsError):  # and nothing of it is left for the next one
        check_bounds(io.BytesIO(BEGIN + b")" + b"\x85" * 600 + b"."))
    check_bounds(io.BytesIO(pickle.dumps({"a": [1, (2,)]}, 2)))

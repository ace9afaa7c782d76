"""Reads a file of weights, whatever wrote it, and runs nothing of what it holds."""

from __future__ import annotations

import re
import warnings
import zipfile
from dataclasses import dataclass, field
from io import BytesIO
from pickle import UnpicklingError  # noqa: TID251 - what reading a foreign file raises
from typing import TYPE_CHECKING, Any

import torch

from snow_deploy.errors import SourceError
from snow_deploy.models.foreign_files import (
    BEGIN_BYTES,
    SAVE_TENSORS,
    what_is_foreign,
    what_is_in,
)
from snow_deploy.models.pickle_bounds import OutOfBoundsError, check_bounds
from snow_deploy.models.sharded_weights import read_index, read_shards

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    _Global = Callable[..., Any] | tuple[Callable[..., Any], str]


@dataclass(frozen=True)
class WeightsFile:
    """What a file holds.

    Attributes:
        content: Tensors by name; containers of such, however deep, in a file of torch.save's.
        metadata: What a safetensors file says of itself.
    """

    content: Any
    metadata: Mapping[str, str] = field(default_factory=dict)


def read_weights_file(path: Path) -> WeightsFile:
    """Read a .safetensors file, or one that torch.save wrote; its content decides, not its name.

    An index of weights that are shared out to several files is followed.

    Tensors and plain values alone are read. The settings that trainings keep beside them, such as
    an argparse.Namespace, become empty objects, whose classes are neither imported nor called.

    Raises:
        SourceError: It is missing, damaged, of another kind, or holds other objects.
    """
    begin = _begin(path)
    if begin.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"{" and (index := read_index(path)) is not None:
        shards = read_shards(path, index, lambda each: read_weights_file(each).content)
        return WeightsFile(shards)
    try:
        return _read(path, begin)
    except SourceError:
        raise
    except Exception as error:
        msg = (
            f"{path} cannot be read as a file of tensors: it is damaged or cut short "
            f"({_first_line(error)}). Download or save it again."
        )
        raise SourceError(msg) from error


def _read(path: Path, begin: bytes) -> WeightsFile:
    foreign = what_is_foreign(path, begin)
    if foreign is not None:
        msg = f"{path} cannot be read as a file of tensors: {foreign}"
        raise SourceError(msg)
    torchs = begin.startswith((b"PK", _OLD_BEGIN))
    if begin[8:9] == b"{" or (path.suffix == ".safetensors" and not torchs):
        return _read_safetensors(path)
    return WeightsFile(_read_torch(path))


_OLD_BEGIN = b"\x80\x02\x8a\x0a"
"""Of a file of torch before 1.6."""


def _begin(path: Path) -> bytes:
    """Return the first bytes of a file.

    Raises:
        SourceError: It is missing, a folder, or may not be read.
    """
    try:
        if path.is_dir():
            raise SourceError(what_is_in(path))
        if not path.is_file():
            msg = f"there is no weights file {path}; give the path of a .safetensors or .pth file"
            raise SourceError(msg)
        with path.open("rb") as file:
            return file.read(BEGIN_BYTES)
    except OSError as error:
        msg = f"{path} cannot be read: {error}. Allow this user to read it, or copy it again."
        raise SourceError(msg) from error


def _read_safetensors(path: Path) -> WeightsFile:
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        return WeightsFile(tensors, file.metadata() or {})


def _read_torch(path: Path) -> Any:
    _check_bounds(path)
    stubs, refused = _stubs(path)
    if refused:
        raise SourceError(_objects(path, refused))
    try:
        with torch.serialization.safe_globals(stubs), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pickle protocols that need no care here
            with path.open("rb") as file:  # of a path torch would go by its name
                return torch.load(file, map_location="cpu", weights_only=True)  # noqa: TID251
    except UnpicklingError as error:  # torch's text advises to read it without care
        named = re.findall(r"GLOBAL (\S+)", str(error))
        raise SourceError(_objects(path, named)) from error


def _check_bounds(path: Path) -> None:
    try:
        if zipfile.is_zipfile(path):
            reader = torch._C.PyTorchFileReader(str(path))  # noqa: SLF001 - torch.load's own
            check_bounds(BytesIO(reader.get_record("data.pkl")))
        else:
            with path.open("rb") as file:
                check_bounds(file)
    except OutOfBoundsError as error:
        msg = (
            f"{path} cannot be read as a file of tensors: {error}. No training leaves such a file. "
            f"Take it from whom you trust. {SAVE_TENSORS}"
        )
        raise SourceError(msg) from error


class _Settings:
    """Stands for any object beside the weights; holds nothing of it."""

    def __init__(self, *_: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        """Pass its content over."""


class _Mapping(_Settings):
    """Stands for a kind of dict beside the weights, which may hold some."""

    def __new__(cls, *_: object) -> dict[Any, Any]:  # type: ignore[misc]
        return {}


class _List(_Settings):
    """Stands for a kind of list beside the weights, to which its items are appended."""

    def __new__(cls, *_: object) -> list[Any]:  # type: ignore[misc]
        return []


_LISTS = ("collections.deque",)
_MAPPINGS = ("collections.defaultdict", "easydict.EasyDict", "addict.addict.Dict")
_SETTINGS = frozenset(
    {
        *("argparse", "datetime", "decimal", "enum", "fractions", "numpy", "pathlib", "typing"),
        "uuid",
        *("lightning", "lightning_fabric", "lightning_utilities", "pytorch_lightning"),
        *("mmcv", "mmengine", "omegaconf", "torchmetrics", "yacs"),
    }
)
"""Packages whose objects trainings keep beside the weights."""
_PLAIN = frozenset(
    {
        *("bool", "bytearray", "bytes", "complex", "dict", "float", "frozenset", "int", "list"),
        *("object", "range", "set", "slice", "str", "tuple"),
    }
)
_OTHER_SETTINGS = ("functools.partial", "types.SimpleNamespace")
_CLASSES = ("torch.optim.", "torch.nn.modules.loss.", "torch.nn.modules.activation.")
"""What begins the names of classes that stand among hyperparameters."""
_IN_OLD_FILES = (
    *("argparse.Namespace", "collections.defaultdict", "numpy.dtype", "pathlib.PosixPath"),
    *("numpy.core.multiarray.scalar", "numpy.core.multiarray._reconstruct", "numpy.ndarray"),
)
"""For files of torch before 1.6, whose names cannot be listed beforehand."""


def _stubs(path: Path) -> tuple[list[_Global], tuple[str, ...]]:
    """Return what stands for the classes in a file, and those that nothing may stand for."""
    names = list(_IN_OLD_FILES)
    if zipfile.is_zipfile(path):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            names = torch.serialization.get_unsafe_globals_in_checkpoint(path)
    foreign = (name for name in names if not _is_settings(name))
    refused = tuple(sorted(foreign, key=lambda name: (name.startswith("torch."), name)))
    stubs: list[_Global] = [(_stub(name), name) for name in names]
    return stubs, refused


def _stub(name: str) -> type[_Settings]:
    if name in _MAPPINGS or name.endswith(".AttributeDict"):
        return _Mapping
    return _List if name in _LISTS else _Settings


def _is_settings(name: str) -> bool:
    package, _, rest = name.partition(".")
    plain = package == "builtins" and rest in _PLAIN
    known = name in {*_MAPPINGS, *_LISTS, *_OTHER_SETTINGS} or name.startswith(_CLASSES)
    return plain or package in _SETTINGS or known


def _objects(path: Path, names: Sequence[str]) -> str:
    """Say that a file holds more than tensors, and what to do about it."""
    shown = f" ({', '.join(names[:3])}{', …' if len(names) > 3 else ''})" if names else ""
    if not names:
        return (
            f"{path} cannot be read as a file of tensors: it is of another kind, or is damaged. "
            f"Download it again, or save it again as .safetensors. {SAVE_TENSORS}"
        )
    what = "other things than tensors"
    if any(name.startswith(("torch.nn.modules.", "torchvision.models.")) for name in names):
        what += ": a whole network as Python objects"
    return (
        f"{path} holds {what}{shown}. Objects of Python could run anything and are not read here. "
        f"{SAVE_TENSORS}"
    )


def _first_line(error: Exception) -> str:
    """Return the first line of a library's text, without its advice; some is none, as `101`."""
    text = str(error).strip().partition("\n")[0]
    says_nothing = isinstance(error, (LookupError, AttributeError, TypeError)) or not text
    inner = any(map(text.count, ("weights_only", "pickle", "opcode", "operand")))
    return "torch cannot read it" if says_nothing or inner else text.rstrip(".")[:200]

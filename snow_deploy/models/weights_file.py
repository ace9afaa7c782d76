"""Reads a file of weights, whatever wrote it, and runs nothing of what it holds."""

from __future__ import annotations

import re
import warnings
import zipfile
from dataclasses import dataclass, field
from pickle import UnpicklingError  # noqa: TID251 - what reading a foreign file raises
from typing import TYPE_CHECKING, Any

import torch

from snow_deploy.errors import SourceError
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
    if path.is_dir():
        msg = f"{path} is a folder; give the path of the file of weights in it"
        raise SourceError(msg)
    if not path.is_file():
        msg = f"there is no weights file {path}; give the path of a .safetensors or .pth file"
        raise SourceError(msg)
    try:
        with path.open("rb") as file:
            begin = file.read(64)
    except OSError as error:
        msg = f"{path} cannot be read: {error}. Allow this user to read it, or copy it again."
        raise SourceError(msg) from error
    if begin.lstrip()[:1] == b"{" and (index := read_index(path)) is not None:
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
    foreign = _foreign(path, begin)
    if foreign is not None:
        msg = f"{path} cannot be read as a file of tensors: {foreign}"
        raise SourceError(msg)
    if path.suffix == ".safetensors" or begin[8:9] == b"{":
        return _read_safetensors(path)
    return WeightsFile(_read_torch(path))


def _read_safetensors(path: Path) -> WeightsFile:
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        return WeightsFile(tensors, file.metadata() or {})


def _read_torch(path: Path) -> Any:
    stubs, refused = _stubs(path)
    if refused:
        raise SourceError(_objects(path, refused))
    try:
        with torch.serialization.safe_globals(stubs), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pickle protocols that need no care here
            return torch.load(path, map_location="cpu", weights_only=True)  # noqa: TID251
    except UnpicklingError as error:  # torch's text advises to read it without care
        named = re.findall(r"GLOBAL (\S+)", str(error))
        raise SourceError(_objects(path, named)) from error


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
            f"Download it again, or save it again as .safetensors. {_SAVE_TENSORS}"
        )
    what = "other things than tensors"
    if any(name.startswith(("torch.nn.modules.", "torchvision.models.")) for name in names):
        what += ": a whole network as Python objects"
    return (
        f"{path} holds {what}{shown}. Objects of Python could run anything and are not read here. "
        f"{_SAVE_TENSORS}"
    )


_SAVE_TENSORS = (
    "Save the tensors alone, where the code that wrote the file is at hand: "
    "torch.save(model.state_dict(), 'weights.pth')."
)


def _foreign(path: Path, begin: bytes) -> str | None:
    """Say what a file is that holds no tensors; None where it may hold some."""
    if not begin:
        return "it is empty (0 bytes). Download or save it again."
    if begin.startswith(b"version https://git-lfs"):
        return "it is a pointer of Git LFS, not the file itself. Fetch it: git lfs pull."
    if (text := _TEXTS.get(begin.lstrip(b"\xef\xbb\xbf \r\n\t")[:1])) is not None:
        return text
    for magic, kind in _OTHERS.items():
        if begin.startswith(magic):
            return f"it is {kind}."
    if begin.startswith(b"PK") and zipfile.is_zipfile(path):
        return _foreign_zip(path)
    return None


_TEXTS = {
    b"<": "it is a page of HTML or XML, as servers send in place of a file. Download it again.",
    b"{": (
        "it is text in JSON, such as settings, and no index of files (weight_map). Give the file "
        "of the weights themselves."
    ),
}
"""What a text is, by its first letter."""
_OTHERS = {
    b"\x1f\x8b": "compressed by gzip. Unpack it and give the file of weights in it",
    b"BZh": "compressed by bzip2. Unpack it and give the file of weights in it",
    b"\xfd7zXZ": "compressed by xz. Unpack it and give the file of weights in it",
    b"7z\xbc\xaf": "a 7z archive. Unpack it and give the file of weights in it",
    b"\x89HDF": "an HDF5 file, as Keras writes them. Convert it to torchvision's names and layout",
    b"GGUF": "a GGUF file, which holds no torchvision network. Give a .safetensors or .pth file",
}


_MOST_UNPACKED = 20  # times the file's size; a network half of zeros shrinks to a half


def _foreign_zip(path: Path) -> str | None:
    with zipfile.ZipFile(path) as file:
        unpacked = sum(entry.file_size for entry in file.infolist())
        names = [name.partition("/")[2] for name in file.namelist()]
        whole = file.namelist()
    if unpacked > _MOST_UNPACKED * path.stat().st_size:
        return (
            f"it is compressed, and would unpack to {unpacked / 2**30:.1f} GiB, more than "
            f"{_MOST_UNPACKED} times its size; torch.save compresses nothing. {_SAVE_TENSORS}"
        )
    if "constants.pkl" in names:
        return f"it is a TorchScript program, which would have to be run. {_SAVE_TENSORS}"
    if any(name.endswith(("archive_format", "serialized_exported_program.json")) for name in whole):
        return f"it is an exported program (torch.export). {_SAVE_TENSORS}"
    if "data.pkl" in names:
        return None
    inside = ", ".join(whole[:3]) or "nothing"
    return f"it is a zip archive of {inside}. Unpack it and give the file of weights in it."


def _first_line(error: Exception) -> str:
    """Return the first line of a library's text, without its advice; some is none, as `101`."""
    text = str(error).strip().partition("\n")[0]
    says_nothing = isinstance(error, (LookupError, AttributeError, TypeError)) or not text
    return (
        "torch cannot read it" if says_nothing or "weights_only" in text else text.rstrip(".")[:200]
    )

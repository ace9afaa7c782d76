"""Says what a file or folder is that is no file of weights, and where the weights would be."""

from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

BEGIN_BYTES = 512
"""Of a file that `what_is_foreign` looks at."""
SAVE_TENSORS = (
    "Save the tensors alone, where the code that wrote the file is at hand: "
    "torch.save(model.state_dict(), 'weights.pth')."
)

_TEXTS = {
    "<": "it is a page of HTML or XML, as servers send in place of a file. Download it again.",
    "{": (
        "it is text in JSON, such as settings, and no index of files (weight_map). Give the file "
        "of the weights themselves."
    ),
}
"""What a text is, by its first letter."""
_UNPACK = "Unpack it and give the file of weights in it."
_GIVE = "Give a .safetensors or .pth file."
_OTHERS = {
    (0, b"\x1f\x8b"): f"compressed by gzip. {_UNPACK}",
    (0, b"BZh"): f"compressed by bzip2. {_UNPACK}",
    (0, b"\xfd7zXZ"): f"compressed by xz. {_UNPACK}",
    (0, b"\x28\xb5\x2f\xfd"): f"compressed by zstd. {_UNPACK}",
    (0, b"7z\xbc\xaf"): f"a 7z archive. {_UNPACK}",
    (257, b"ustar"): f"a tar archive. {_UNPACK}",
    (0, b"\x89HDF"): (
        "an HDF5 file, as Keras writes them. Convert it to torchvision's names and layout."
    ),
    (0, b"GGUF"): f"a GGUF file, which holds no torchvision network. {_GIVE}",
    (0, b"\x93NUMPY"): f"an array of NumPy's. {_GIVE}",
    (4, b"TFL3"): f"a graph of TensorFlow Lite. {_GIVE}",
    (0, b"ftrt"): f"an engine of TensorRT, which runs and cannot be trained on. {_GIVE}",
    (0, b"\x89PNG"): f"a picture. {_GIVE}",
    (0, b"\xff\xd8\xff"): f"a picture. {_GIVE}",
}
"""What a file is, by some bytes of it and their place."""
_SUFFIXES = {
    ".onnx": f"an ONNX graph, whose layers are merged and renamed. {_GIVE}",
    ".engine": f"an engine of TensorRT, which runs and cannot be trained on. {_GIVE}",
    ".plan": f"an engine of TensorRT, which runs and cannot be trained on. {_GIVE}",
}
"""What a file is, by its name, where its bytes do not tell."""
_MOST_UNPACKED = 20  # times the file's size; a network half of zeros shrinks to a half
_SHOWN = 40  # characters of a text
_WEIGHTS = ("*.index.json", "*.safetensors", "*.pth", "*.pt", "*.ckpt", "*.bin", "*.pth.tar")


def what_is_foreign(path: Path, begin: bytes) -> str | None:
    """Say what a file is that holds no tensors; None where it may hold some.

    Args:
        path: The file.
        begin: Its first `BEGIN_BYTES`.

    Raises:
        Exception: It is a zip archive, and damaged.
    """
    if not begin:
        return "it is empty (0 bytes). Download or save it again."
    if begin.startswith(b"version https://git-lfs"):
        return "it is a pointer of Git LFS, not the file itself. Fetch it: git lfs pull."
    for (place, magic), kind in _OTHERS.items():
        if begin[place:].startswith(magic):
            return f"it is {kind}"
    if begin.startswith(b"PK"):
        return _foreign_zip(path)
    if (text := _text(begin)) is not None:
        shown = f"{text[:_SHOWN]}…" if len(text) > _SHOWN else text
        is_text = f"it is text, which begins {shown!r}. Download it again, or give another file."
        return _TEXTS.get(text[:1], is_text)
    kind = _SUFFIXES.get(path.suffix.lower(), "")
    return f"it is {kind}" if kind else None


def _text(begin: bytes) -> str | None:
    """Return a file's first words; None where they are none."""
    coding = "utf-16" if begin.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
    if len(begin) == BEGIN_BYTES:
        begin = begin[: BEGIN_BYTES - 4]  # the last letter may be cut
        begin = begin if coding == "utf-16" else begin.rstrip(bytes(range(128, 256)))
    try:
        text = begin.decode(coding)
    except UnicodeDecodeError:
        return None
    words = " ".join(text.split())
    return words if words.isprintable() else None


def _foreign_zip(path: Path) -> str | None:
    if not zipfile.is_zipfile(path):
        return "it is a zip archive whose end is missing: it is cut short. Download it again."
    with zipfile.ZipFile(path) as file:
        unpacked = sum(entry.file_size for entry in file.infolist())
        names = [name.partition("/")[2] for name in file.namelist()]
        whole = file.namelist()
    if unpacked > _MOST_UNPACKED * path.stat().st_size:
        return (
            f"it is compressed, and would unpack to {unpacked / 2**30:.1f} GiB, more than "
            f"{_MOST_UNPACKED} times its size; torch.save compresses nothing. {SAVE_TENSORS}"
        )
    if "constants.pkl" in names:
        return f"it is a TorchScript program, which would have to be run. {SAVE_TENSORS}"
    if any(name.endswith(("archive_format", "serialized_exported_program.json")) for name in whole):
        return f"it is an exported program (torch.export). {SAVE_TENSORS}"
    if "data.pkl" in names:
        return None
    inside = ", ".join(ascii(name)[1:-1] for name in whole[:3]) or "nothing"
    return f"it is a zip archive of {inside}. {_UNPACK}"


def what_is_in(folder: Path) -> str:
    """Say of a folder that it is no file, and which one of it to give."""
    if (folder / ".metadata").is_file() and any(folder.glob("*.distcp")):
        return (
            f"{folder} is a folder of torch.distributed.checkpoint, in pieces. Put them together: "
            f"python -m torch.distributed.checkpoint.format_utils dcp_to_torch {folder} weights.pth"
        )
    if (folder / "zero_to_fp32.py").is_file():
        return (
            f"{folder} is a folder of DeepSpeed's, in pieces. Put them together with the "
            "zero_to_fp32.py in it, and give the file that it writes."
        )
    found = sorted({each.name for pattern in _WEIGHTS for each in folder.glob(pattern)})
    shown = ", ".join(found[:3]) + (", …" if len(found) > 3 else "")
    inside = f": it holds {shown}" if found else ""
    return f"{folder} is a folder; give the path of the file of weights in it{inside}"

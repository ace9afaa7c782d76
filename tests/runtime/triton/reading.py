"""A model repository, read with the protocol's own definitions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

if TYPE_CHECKING:
    from pathlib import Path


def read_config(model: Path) -> Any:
    text = (model / "config.pbtxt").read_text(encoding="utf-8")
    return text_format.Parse(text, model_config_pb2.ModelConfig())


def tensors(entries: Any) -> dict[str, tuple[str, list[int]]]:
    names = model_config_pb2.DataType.Name
    return {each.name: (names(each.data_type), list(each.dims)) for each in entries}


def tree(folder: Path) -> dict[str, bytes]:
    """Give the content of all files by their paths."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }

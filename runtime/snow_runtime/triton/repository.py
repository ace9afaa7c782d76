"""A Triton model repository: versions side by side, each written whole or not at all.

::

    REPOSITORY/NAME/config.pbtxt       one for all versions, with a manifest for each
                    labels/TASK.txt    likewise
                    1/model.onnx       what a version is; never changed
                    2/...

Triton looks at folders whose names are numbers. So a version is made in a hidden folder beside
them, and gets its number last. What a crash leaves is no version, and the next one clears it away.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from snow_runtime.errors import InputError
from snow_runtime.file_lock import hold_lock
from snow_runtime.files import atomic_write, sync_folder, writing
from snow_runtime.triton.config import (
    config_module,
    label_file,
    label_text,
    make_config,
    put_manifest,
)
from snow_runtime.triton.fits import check_ours, check_same_model, options_of
from snow_runtime.triton.options import check_model_name
from snow_runtime.triton.served import open_served

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from snow_runtime.triton.options import TritonOptions
    from snow_runtime.triton.served import ServedModel

CONFIG_NAME: Final = "config.pbtxt"
_VERSION: Final = re.compile(r"[1-9][0-9]*")
_STAGED: Final = re.compile(r"\.[0-9a-f]{16}\.tmp")
_ADVICE: Final = "Choose another -o, or free space; what was there before is untouched."
_HEADER: Final = "# Written by `snow-deploy triton`; what you change here stays.\n"
_MODEL_PY: Final = '''"""Served by Triton's Python backend; written by `snow-deploy triton`."""

from snow_runtime import TritonPythonModel

__all__ = ["TritonPythonModel"]
'''


@dataclass(frozen=True)
class AddedVersion:
    """A version that a repository has gained.

    Attributes:
        name: Name of the model.
        version: Number of the version.
        folder: Folder of the version.
        config: Triton's configuration of the model, a `ModelConfig`.
        served: What is served.
    """

    name: str
    version: int
    folder: Path
    config: Any
    served: ServedModel


def add_version(repository: Path, path: Path, options: TritonOptions) -> AddedVersion:
    """Put a graph or an engine into a repository, as a version of a model.

    Args:
        repository: The repository's folder; it is made where it is missing.
        path: The graph, or the engine with its record beside it.
        options: What the model is to be.

    Raises:
        GraphError, EngineError: The file cannot be used, or not in this form.
        InputError: The version is there already, does not fit the model's others, or the folder
            cannot be written to. Nothing was changed.
        MissingDependencyError: Tritonclient, whose definitions are used, is not installed.
    """
    name = check_model_name(options.name or path.stem)
    config_module()  # before anything is made
    model = repository / name
    with writing(model, InputError, _ADVICE), _folder(model), hold_lock(model):
        there = _read_config(model)
        asked = options if there is None else options_of(there, options)
        served = open_served(path, asked, None if there is None else there.max_batch_size)
        version = _next_version(model, options.version)
        config = make_config(name, version, served, asked)
        if there is not None:
            check_same_model(model / CONFIG_NAME, there, config, options)
        with _staged(model, served) as staged, _nothing_else_left(model, new=there is None):
            _write_labels(model, _check_labels(model, served))
            _write_config(model / CONFIG_NAME, there, config, version, served)
            staged.rename(model / str(version))
        sync_folder(model)
    return AddedVersion(name, version, model / str(version), there or config, served)


@contextmanager
def _folder(model: Path) -> Iterator[None]:
    """Within it, a model's folder is there; those that were made for this go if this fails."""
    made = [each for each in (model, *model.parents) if not each.exists()]
    model.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        with suppress(OSError):  # another process has put something into one of them
            for each in made:
                each.rmdir()
        raise


@contextmanager
def _nothing_else_left(model: Path, *, new: bool) -> Iterator[None]:
    """Take away what a model without any version has gained, where the first one fails."""
    try:
        yield
    except BaseException:
        if new:
            (model / CONFIG_NAME).unlink(missing_ok=True)
            shutil.rmtree(model / "labels", ignore_errors=True)
        raise


def _read_config(model: Path) -> Any:
    """Read the config of a model that is there; None for a folder that is empty.

    Raises:
        InputError: It is damaged, missing beside something else, or not of this project.
    """
    from google.protobuf import text_format

    path = model / CONFIG_NAME
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        others = sorted(each.name for each in model.iterdir() if not _STAGED.fullmatch(each.name))
        if set(others) <= {"labels"}:  # of one that was interrupted before it had a config
            return None
        msg = (
            f"{model} has no {CONFIG_NAME} and holds {', '.join(others)}, expected a model of "
            "'snow-deploy triton' or nothing. Give another --name or another -o."
        )
        raise InputError(msg) from error
    except UnicodeDecodeError as error:
        msg = f"{path} is no text: {error}. Correct it, or give another --name."
        raise InputError(msg) from error
    try:
        config = text_format.Parse(text, config_module().ModelConfig())
    except text_format.ParseError as error:
        # Its own text quotes the line, and a manifest of many kilobytes is one.
        place = f"line {error.GetLine()}, column {error.GetColumn()}"
        msg = (
            f"{path} cannot be read: {place}, is cut short or no text of a configuration of "
            "Triton. Correct it, or give another --name."
        )
        raise InputError(msg) from error
    check_ours(path, config)
    return config


def _next_version(model: Path, asked: int | None) -> int:
    there = [int(each.name) for each in model.iterdir() if _VERSION.fullmatch(each.name)]
    if asked in there:
        msg = (
            f"{model} has a version {asked}, and versions are never changed. Leave --version out "
            f"for version {max(there) + 1}, or give another."
        )
        raise InputError(msg)
    return asked or max(there, default=0) + 1


def _check_labels(model: Path, served: ServedModel) -> dict[Path, str]:
    """Return the label files that have to be written.

    Raises:
        InputError: One is there with other labels, which are those of the versions there.
    """
    missing = {}
    for task in served.manifest.tasks:
        path, text = model / label_file(task.name), label_text(task.labels)
        try:
            seen = path.read_bytes()
        except FileNotFoundError:
            missing[path] = text
            continue
        if seen != text.encode():
            msg = (
                f"The labels of {task.name!r} are others than those of {path}, which is of all "
                "versions of this model. Give another --name."
            )
            raise InputError(msg)
    return missing


def _write_labels(model: Path, labels: dict[Path, str]) -> None:
    (model / "labels").mkdir(exist_ok=True)
    for path, text in labels.items():
        with atomic_write(path, "wb") as stream:
            stream.write(text.encode())


def _write_config(path: Path, there: Any, config: Any, version: int, served: ServedModel) -> None:
    """Write a new config; to one that is there only the version's manifest is added."""
    from google.protobuf import text_format

    if there is None:
        text = _HEADER + text_format.MessageToString(config)
    else:  # what stands there stays as it is, its comments too
        added = config_module().ModelConfig()
        put_manifest(added, version, served.manifest)
        there.MergeFrom(added)
        old = path.read_text(encoding="utf-8").rstrip("\n")
        text = f"{old}\n{text_format.MessageToString(added)}"
    with atomic_write(path, "w") as stream:
        stream.write(text)


@contextmanager
def _staged(model: Path, served: ServedModel) -> Iterator[Path]:
    """Within it, a version's files lie on the disk in a hidden folder of the model."""
    for left in model.iterdir():  # of one that was killed: the lock is ours
        if _STAGED.fullmatch(left.name):
            shutil.rmtree(left, ignore_errors=True)
    folder = model / f".{secrets.token_hex(8)}.tmp"
    folder.mkdir()
    try:
        for name, source in served.files.items():
            _copy(source, folder / name)
        if served.form == "python":
            with atomic_write(folder / "model.py", "w") as stream:
                stream.write(_MODEL_PY)
        yield folder
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with source.open("rb") as original, target.open("xb") as copy:
        shutil.copyfileobj(original, copy, 1 << 20)
        copy.flush()
        os.fsync(copy.fileno())

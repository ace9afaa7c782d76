"""The record of a job: what was asked for, so that what goes on is the same job."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from snow_runtime._version import __version__
from snow_runtime.errors import GraphError, ReadoutError
from snow_runtime.files import sha256_file
from snow_runtime.graph.weights_beside import sha256_of_graph
from snow_runtime.model import is_engine
from snow_runtime.score.errors import ScoreError
from snow_runtime.score.output_folder import RECORD
from snow_runtime.score.shard_list import forget_shard_list

if TYPE_CHECKING:
    from pathlib import Path

    from snow_runtime.score.options import JobFiles, ScoreOptions
    from snow_runtime.score.output_folder import OutputFolder

_FORMAT: Final = 1


@dataclass(frozen=True)
class Job:
    """What a job is.

    Attributes:
        model_sha256: SHA-256 (hex) of the model's file.
        readouts_sha256: SHA-256 (hex) of each readout's file.
        options: What decides its rows.
    """

    model_sha256: str
    readouts_sha256: tuple[str, ...]
    options: ScoreOptions

    @property
    def fields(self) -> dict[str, Any]:
        """What is compared, as JSON has it."""
        options = asdict(self.options)
        plain: dict[str, Any] = json.loads(
            json.dumps({"model": self.model_sha256, "readouts": self.readouts_sha256, **options})
        )
        return plain

    @property
    def key(self) -> str:
        """SHA-256 (hex) of all of it; every part carries it."""
        return hashlib.sha256(json.dumps(self.fields, sort_keys=True).encode()).hexdigest()


def describe_job(files: JobFiles, options: ScoreOptions) -> Job:
    """Say what a job is, by the content of its files.

    Raises:
        GraphError: The model cannot be read.
        ReadoutError: A readout cannot be read.
    """
    try:
        model = model_sha256(files.model)
    except OSError as error:
        msg = f"Cannot load {str(files.model)!r}: {error}. Check the path."
        raise GraphError(msg) from error
    return Job(model, tuple(map(_readout_sha256, files.readouts)), options)


def model_sha256(path: Path) -> str:
    """Return the SHA-256 of an engine, or of a graph with the weights that lie beside it.

    Raises:
        GraphError: It is no graph that can be read.
        OSError: It cannot be read.
    """
    return sha256_file(path) if is_engine(path) else sha256_of_graph(path)


def _readout_sha256(path: Path) -> str:
    try:
        return sha256_file(path)
    except OSError as error:
        msg = f"The readout {path} cannot be read: {error}. Check the path."
        raise ReadoutError(msg) from error


def begin_job(output: OutputFolder, job: Job, *, alone: bool = False) -> bool:
    """Write a job's record, or find that it is there already.

    Args:
        output: The output.
        job: The job.
        alone: Whether nobody else can be at work there. The record of another job then gives way
            where that one has no part yet, such as one whose inputs were mistyped.

    Returns:
        Whether a job goes on.

    Raises:
        ScoreError: The output holds another job, or parts without a record.
        OutputError: The output refuses it, or cannot be read.
    """
    content = output.read(RECORD)
    parts = output.parts()
    if content is not None:
        try:
            _check_same(output, job, content)
        except ScoreError:
            if parts or not alone:
                raise
            forget_shard_list(output)
        else:
            return True
    if parts:
        msg = (
            f"{output.uri} has parts of a job in it but no record of one, expected an empty "
            "folder, or one that a job began. Score into another folder."
        )
        raise ScoreError(msg)
    record = {"format": _FORMAT, "snow-deploy": __version__, "key": job.key, **job.fields}
    output.write(RECORD, json.dumps(record, indent=2).encode() + b"\n")
    return False


def _check_same(output: OutputFolder, job: Job, content: bytes) -> None:
    try:
        record = json.loads(content)
        before = {name: record[name] for name in job.fields}
        written = record["format"]
    except (ValueError, TypeError, KeyError) as error:
        msg = f"The record of the job in {output.uri} cannot be read. Score into another folder."
        raise ScoreError(msg) from error
    if written != _FORMAT:
        msg = (
            f"The job in {output.uri} has the format {written}, expected {_FORMAT}: another "
            "version of snow-deploy began it. Finish it with that version, or score anew."
        )
        raise ScoreError(msg)
    differences = [
        f"{_NAMES.get(name, name)} {_shown(before[name])}, now {_shown(now)}"
        for name, now in job.fields.items()
        if before[name] != now
    ]
    if differences:
        msg = (
            f"{output.uri} holds another job: it was begun with {'; '.join(differences)}. Give the "
            "same again to go on with it, or score into another folder."
        )
        raise ScoreError(msg)


_NAMES: Final = {
    "model": "the model",
    "readouts": "the readouts",
    "inputs": "the inputs",
    "features": "--features",
    "batch": "--batch",
    "shard_rows": "--shard-rows",
    "column": "--column",
    "id_column": "--id-column",
}


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "given" if value else "not given"
    if value is None:
        return "none"
    if isinstance(value, str):
        return value[:12] if len(value) == 64 else value
    if isinstance(value, list):
        return ", ".join(_shown(each) for each in value) or "none"
    return str(value)

"""A plan and the record beside it: written as one, read with suspicion."""

from __future__ import annotations

import hashlib
import os
import tempfile
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

from snow_runtime.engine.paths import record_path
from snow_runtime.engine.record import EngineRecord
from snow_runtime.errors import EngineError, ManifestError
from snow_runtime.file_lock import hold_lock
from snow_runtime.files import atomic_write

if TYPE_CHECKING:
    from pathlib import Path


def check_writable(engine: Path) -> None:
    """Refuse, before an hour of building, a place that cannot be written to.

    Raises:
        EngineError: The folder is missing or read-only, or a folder has the engine's name.
    """
    if engine.is_dir():
        msg = f"{engine} is a folder, expected a file to write. Name a file in it."
        raise EngineError(msg)
    if engine.exists() and not engine.is_file():
        msg = f"{engine} is no ordinary file, and would be replaced. Give another -o."
        raise EngineError(msg)
    folder = engine.parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise _unwritable(engine, error) from error


def write_engine(engine: Path, content: bytes, record: EngineRecord) -> None:
    """Write the plan and its record; another process's pair never mixes with it.

    A crash between the two leaves a plan whose record has another hash, which is refused at
    loading and built anew.

    Raises:
        EngineError: The place cannot be written to, or the disk is full; both old files stay.
    """
    try:
        with (
            hold_lock(engine.parent),
            atomic_write(record_path(engine), "w") as described,
            atomic_write(engine, "wb") as plan,
        ):
            described.write(record.to_json())
            described.flush()
            os.fsync(described.fileno())  # no room for the record: before the plan is replaced
            plan.write(content)
    except OSError as error:
        raise _unwritable(engine, error) from error


def read_engine(engine: Path) -> tuple[EngineRecord, bytes]:
    """Read a plan and its record; where they are just being replaced, the new ones.

    Raises:
        EngineError: One is missing or damaged, or they do not belong together.
    """
    try:
        record = read_record(engine)
        return record, read_plan(engine, record)
    except EngineError:
        with ExitStack() as held:
            with suppress(OSError):  # a folder that only root may list, or one without locks
                held.enter_context(hold_lock(engine.parent))
            record = read_record(engine)  # nobody is between the two files now
            return record, read_plan(engine, record)


def read_record(engine: Path) -> EngineRecord:
    """Read the record beside a plan.

    Raises:
        EngineError: It is missing or damaged.
    """
    path = record_path(engine)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        msg = (
            f"{path} is missing: without it nobody can say what {engine.name} is, and a plan runs "
            "code. Copy it from where the engine was built, or build the engine anew with "
            "'snow-deploy build-engine'."
        )
        raise EngineError(msg) from error
    except (OSError, ValueError) as error:
        msg = f"{path} cannot be read: {error}. Copy it again."
        raise EngineError(msg) from error
    try:
        return EngineRecord.from_json(text)
    except ManifestError as error:
        msg = (
            f"{path} is damaged, or of another version of snow-deploy: {error.finding}. Copy it "
            "again, or build the engine anew with 'snow-deploy build-engine'."
        )
        raise EngineError(msg) from error


def read_plan(engine: Path, record: EngineRecord) -> bytes:
    """Read a plan, if it is the one that its record describes.

    Raises:
        EngineError: It is missing, damaged, truncated or another one.
    """
    anew = f"Copy both files again, or build it anew: {record.command(engine)}"
    try:
        content = engine.read_bytes()
    except FileNotFoundError as error:
        msg = f"{engine} does not exist, expected an engine. {anew}"
        raise EngineError(msg) from error
    except OSError as error:
        msg = f"{engine} cannot be read: {error}. {anew}"
        raise EngineError(msg) from error
    if hashlib.sha256(content).hexdigest() == record.plan_sha256:
        return content
    short = len(content) < record.plan_bytes
    what = (
        f"has {len(content)} bytes of {record.plan_bytes}: it is truncated"
        if short
        else "is not the plan that its record describes: it is damaged, or was swapped"
    )
    msg = f"{engine} {what}. A plan runs code, so it was not loaded. {anew}"
    raise EngineError(msg)


def _unwritable(engine: Path, error: OSError) -> EngineError:
    return EngineError(
        f"{engine} cannot be written: {error}. Choose another -o, or free space; what was there "
        "before is untouched."
    )

"""What builds leave for later ones: engines, and what TensorRT has learnt about kernels."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import tempfile
import time
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from snow_runtime._version import __version__
from snow_runtime.engine.files import read_engine, write_engine
from snow_runtime.engine.paths import record_path
from snow_runtime.errors import EngineError
from snow_runtime.file_lock import hold_lock
from snow_runtime.files import atomic_write

if TYPE_CHECKING:
    from collections.abc import Iterator

    from snow_runtime.engine.backend import Backend
    from snow_runtime.engine.host import Host
    from snow_runtime.engine.options import BuildOptions
    from snow_runtime.engine.record import EngineRecord

_LOGGER = logging.getLogger(__name__)
LIMIT_BYTES: Final = 2 << 30
_STALE_S: Final = 24 * 3600  # a temporary file this old belongs to a build that was killed


def default_folder() -> Path | None:
    """Give the folder of all caches: `$SNOW_DEPLOY_CACHE`, or `snow-deploy` in the user's cache.

    None where the system knows no home of this user.
    """
    own = os.environ.get("SNOW_DEPLOY_CACHE")
    if own:
        return Path(own)
    shared = os.environ.get("XDG_CACHE_HOME")
    try:
        return (Path(shared) if shared else Path.home() / ".cache") / "snow-deploy"
    except RuntimeError:
        return None


@dataclass(frozen=True)
class EngineCache:
    """Engines by what they were made from; those used least recently go first.

    Attributes:
        folder: Folder that they lie in; it is made when needed.
        limit_bytes: What they may take together; the newest one stays even if it takes more.
    """

    folder: Path
    limit_bytes: int = LIMIT_BYTES

    def engine(self, key: str) -> Path:
        """Give the path of the engine with this key, whether it is there or not."""
        return self.folder / f"{key}.engine"

    def unusable(self) -> str | None:
        """Say why the folder cannot be written to; None where it can."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.folder):
                return None
        except OSError as error:
            return str(error)

    @contextmanager
    def building(self, key: str) -> Iterator[None]:
        """Let one process build the engine with this key; the others wait and then find it.

        Raises:
            EngineError: The folder cannot be written to, or its file system has no locks.
        """
        with ExitStack() as held:
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
                held.enter_context(hold_lock(self.folder / f"{key}.lock", _announce_waiting))
            except OSError as error:
                msg = (
                    f"The engine cache {self.folder} cannot be written to: {error}. Give "
                    "--no-cache, or another folder in SNOW_DEPLOY_CACHE."
                )
                raise EngineError(msg) from error
            yield

    def find(self, key: str) -> tuple[bytes, EngineRecord] | None:
        """Return the engine with this key, or None; a damaged one is removed."""
        engine = self.engine(key)
        if not engine.exists():
            return None
        try:
            record, content = read_engine(engine)
        except EngineError:
            _remove(engine)
            return None
        if _key_of(record) != key:  # put there by somebody else
            _remove(engine)
            return None
        with suppress(OSError):
            os.utime(engine)  # used now
        return content, record

    def keep(self, key: str, content: bytes, record: EngineRecord) -> None:
        """Take an engine in, and let the least recently used go until all fit.

        Raises:
            EngineError: The folder cannot be written to, or the disk is full.
        """
        write_engine(self.engine(key), content, record)
        self._shrink(self.engine(key))

    def _shrink(self, newest: Path) -> None:
        engines = []
        for engine in self.folder.glob("*.engine"):
            with suppress(OSError):  # another process may be removing it too
                found = engine.stat()
                engines.append((found.st_mtime, found.st_size, engine))
        total = sum(size for _, size, _ in engines)
        for _, size, engine in sorted(engines):
            if total <= self.limit_bytes:
                break
            if engine != newest:
                _remove(engine)
                total -= size
        for leftover in self.folder.glob(".*.tmp"):
            with suppress(OSError):
                if time.time() - leftover.stat().st_mtime > _STALE_S:
                    leftover.unlink()


def cache_key(
    graph_sha256: str, options: BuildOptions, backend: str, version: str, host: Host
) -> str:
    """Give the name under which an engine is kept: all that decides what it is.

    Args:
        graph_sha256: SHA-256 of the graph's file.
        options: Options of the build, resolved.
        backend: What compiles it, by name.
        version: Version of that library.
        host: Machine that compiles; what it compiles for other GPUs is the same everywhere.
    """
    where = {"platform": host.platform}
    if not options.targets:
        where |= {"gpu": host.gpu or "", "target": host.target or ""}
    document = [graph_sha256, options.to_dict(), backend, version, __version__, where]
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()[:32]


def _key_of(record: EngineRecord) -> str:
    return cache_key(
        record.graph_sha256, record.options, record.backend, record.version, record.host
    )


def timing_cache_path(folder: Path, backend: Backend, host: Host) -> Path:
    """Give the file of what TensorRT has learnt: one for each of its versions and each GPU."""
    words = (backend.name, backend.version, host.gpu or "no gpu", host.target or "")
    name = re.sub(r"[^a-z0-9.]+", "-", " ".join(words).lower()).strip("-")
    return folder / "timing" / f"{name}.cache"


def read_timing_cache(path: Path) -> bytes:
    """Read it; nothing where there is none yet.

    Raises:
        EngineError: It is there and cannot be read.
    """
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""
    except OSError as error:
        msg = f"The timing cache {path} cannot be read: {error}. Give another --timing-cache."
        raise EngineError(msg) from error


def write_timing_cache(path: Path, content: bytes) -> str | None:
    """Write it; return why it could not be written: the engine is whole without it."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as stream:
            stream.write(content)
    except OSError as error:
        return f"The timing cache {path} could not be written: {error}."
    return None


def _announce_waiting() -> None:
    _LOGGER.warning("another process is building this engine; waiting for it")


def _remove(engine: Path) -> None:
    for path in (record_path(engine), engine):
        with suppress(OSError):
            path.unlink()

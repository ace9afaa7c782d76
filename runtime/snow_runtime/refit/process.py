"""A fit in a process of its own, as who began it sees it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from snow_runtime.collection.version_folders import FIT_PREFIX, HELD
from snow_runtime.errors import FitError
from snow_runtime.file_lock import try_lock
from snow_runtime.files import writing
from snow_runtime.refit import job as files
from snow_runtime.refit.job import read_note
from snow_runtime.refit.worker import ONE_THREAD, STARVED

if TYPE_CHECKING:
    from snow_runtime.refit.job import FitJob

_MIB: Final = 1 << 20
_SHOWN: Final = 300  # characters of what a process said last


class FitProcess:
    """A process that fits.

    Args:
        job: What is to be fitted.
        folder: Folder below which its files lie meanwhile.
        most_s: Longest time that it may take, in seconds.

    Raises:
        FitError: It cannot be begun.
    """

    def __init__(self, job: FitJob, folder: Path, most_s: float) -> None:
        self._job = job
        self._ends = time.monotonic() + most_s
        self._most_s = most_s
        with writing(folder, FitError, "Free space or access; the old readout goes on."):
            folder.mkdir(parents=True, exist_ok=True)
            # Named at last: who sweeps meanwhile must not find it before it is locked.
            hidden = Path(tempfile.mkdtemp(prefix=".new-", dir=folder))
            self.folder = folder / hidden.name.replace(".new-", FIT_PREFIX, 1)
            self._held = -1
            try:
                self._held = os.open(hidden / HELD, os.O_CREAT | os.O_RDWR)
                try_lock(self._held)
                hidden.rename(self.folder)
                job.write(self.folder)
                self._process = self._begun()
            except OSError:
                shutil.rmtree(hidden, ignore_errors=True)
                shutil.rmtree(self.folder, ignore_errors=True)
                self._let_go()
                raise

    @property
    def pid(self) -> int:
        """Number of the process."""
        return self._process.pid

    @property
    def done(self) -> dict[str, Any] | None:
        """What it says of its readout, once that is whole."""
        return read_note(self.folder / files.DONE)

    @property
    def running(self) -> bool:
        """Whether it is at work still; one that takes too long is ended."""
        if self._process.poll() is not None:
            return False
        if time.monotonic() > self._ends:
            self._end()
            return False
        return True

    def trouble(self) -> str:
        """Say why an ended process left no readout."""
        failed = read_note(self.folder / files.FAILED)
        if failed is not None and failed["why"] != STARVED:
            return str(failed["error"])
        size = f"{self._job.memory_bytes // _MIB} MiB"
        pictures = len(self._job.ids)
        if failed is not None:
            return (
                f"The fit of {pictures} pictures needs more memory than the {size} that it may "
                "have. Give it more with --refit-memory, or delete pictures."
            )
        if time.monotonic() > self._ends:
            return (
                f"The fit of {pictures} pictures took longer than {self._most_s:.0f} s and was "
                "ended. Delete pictures, or fit where there is a faster machine."
            )
        code = self._process.returncode
        how = f"was ended by signal {-code}" if code < 0 else f"ended with code {code}"
        said = self._last_words()
        return (
            f"The process that fits {how}{said}, expected a readout from it. The old one goes on, "
            "and the next labels make it try again."
        )

    def close(self) -> None:
        """End it, and delete its files."""
        self._end()
        shutil.rmtree(self.folder, ignore_errors=True)
        self._let_go()

    def _begun(self) -> subprocess.Popen[bytes]:
        with (self.folder / files.LOG).open("wb") as log:
            return subprocess.Popen(  # noqa: S603 - this very Python
                [sys.executable, "-m", "snow_runtime.refit.worker", str(self.folder.resolve())],
                stdin=subprocess.PIPE,  # its end tells of ours
                stdout=log,
                stderr=log,
                env={**os.environ, **ONE_THREAD},
                cwd=self.folder,  # where no module of a user's lies
                start_new_session=True,  # Ctrl-C is for us, not for it
            )

    def _end(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        if self._process.stdin is not None:
            with suppress(OSError):
                self._process.stdin.close()

    def _let_go(self) -> None:
        if self._held >= 0:
            os.close(self._held)
            self._held = -1

    def _last_words(self) -> str:
        with suppress(OSError):
            text = (self.folder / files.LOG).read_text("utf-8", "replace").strip()
            return f" ({text[-_SHOWN:].splitlines()[-1]})" if text else ""
        return ""

"""A box's folder: generations of releases, the pointer to one of them, and what is known.

The file `state.json` alone says which generation counts. The pointer `current` follows it, so that
a power cut between the two leaves a generation that is whole, and the next start sets it right.
"""

from __future__ import annotations

import json
import shutil
import time
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Annotated, ClassVar, Final

from snow_runtime.errors import ManifestError
from snow_runtime.file_lock import hold_lock
from snow_runtime.files import atomic_write, sync_folder
from snow_runtime.graph import field_checks
from snow_runtime.graph.document import Document, parse_json
from snow_runtime.update.errors import UntrustedError, UpdateError
from snow_runtime.update.floor import Floor
from snow_runtime.update.health import DAY_S
from snow_runtime.update.release import NAME, RECORD, Release, read_document

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_generation = field_checks.matching(rf"\d+-{NAME}-[0-9a-f]{{16}}", "the name of a generation")
_MOST_FAILED: Final = 32
_LONGEST_REASON: Final = 500  # letters; it goes into every status
_STATE: Final = "state.json"
_FIRST_ROOT: Final = "root.json"


@dataclass(frozen=True)
class BoxTrial(Document):
    """A generation that has yet to prove itself.

    Attributes:
        generation: Name of the generation.
        starts: How often a program has begun to watch it.
        answered: Whether frames were answered before it, so that it has to answer some.
        begun: When it was taken up, in seconds since 1970.
    """

    prefix: ClassVar[str] = "trial."
    generation: Annotated[str, _generation]
    starts: int = 0
    answered: bool = False
    begun: float = 0.0

    @property
    def has_to_answer(self) -> bool:
        """Whether frames were answered before it, which was taken up less than a day ago.

        A clock that has been set back counts as if the day were over.
        """
        return self.answered and 0 <= time.time() - self.begun < DAY_S


@dataclass(frozen=True)
class BoxState(Document):
    """What a box knows; the file `state.json`.

    Attributes:
        format: Version of this document.
        good: Generation that works; None before the first one.
        previous: Generation that worked before it, and is kept.
        trial: Generation that is tried now.
        failed: Why generations failed here, by their names; they are not tried again.
        floor: The newest metadata that was seen.
    """

    prefix: ClassVar[str] = "state."
    format: Annotated[int, field_checks.one_of(1)] = 1
    good: Annotated[str, _generation] | None = None
    previous: Annotated[str, _generation] | None = None
    trial: BoxTrial | None = None
    failed: dict[str, str] = field(default_factory=dict)
    floor: Floor = field(default_factory=Floor)

    @property
    def wanted(self) -> str | None:
        """Generation that is to be current."""
        return self.good if self.trial is None else self.trial.generation

    def why_failed(self, generation: str) -> str | None:
        """Return why a generation failed here; None where it did not."""
        return self.failed.get(generation)

    def with_failed(self, generation: str, why: str) -> BoxState:
        """Note that a generation failed, and try it no longer."""
        others = [each for each in self.failed.items() if each[0] != generation]
        kept = [*others, (generation, why[:_LONGEST_REASON] or "no reason given")][-_MOST_FAILED:]
        return replace(self, trial=None, failed=dict(kept))


def generation_of(release: Release, digest: str) -> str:
    """Name the generation of a release, by the SHA-256 of its document."""
    return f"{release.number}-{release.name}-{digest[:16]}"


def release_name(generation: str) -> str:
    """Return the name of a generation's release."""
    return generation.partition("-")[2].rpartition("-")[0]


class Box:
    """The folder of a box.

    Args:
        folder: The folder; it is made where there is none.

    Raises:
        OSError: It cannot be made.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.generations.mkdir(parents=True, exist_ok=True)
        self.incoming.mkdir(exist_ok=True)

    @property
    def generations(self) -> Path:
        """Folder of the generations."""
        return self.folder / "generations"

    @property
    def incoming(self) -> Path:
        """Folder of pieces that have come, and of what has come of others."""
        return self.folder / "incoming"

    @property
    def current(self) -> Path:
        """The pointer: a symbolic link to the generation that counts."""
        return self.folder / "current"

    @property
    def metadata(self) -> Path:
        """Folder of the signed metadata."""
        return self.folder / "metadata"

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Within it, no other agent looks after the folder.

        Raises:
            UpdateError: One does.
        """

        def refuse() -> None:
            msg = (
                f"Another agent looks after {self.folder}. Stop it, or give each a folder of its "
                "own."
            )
            raise UpdateError(msg)

        with hold_lock(self.folder / "lock", refuse):
            yield

    def root(self, given: Path | None) -> bytes:
        """Return the root that is trusted from the beginning, and keep it.

        Args:
            given: A file of it; None for the one that is kept.

        Raises:
            UpdateError: There is none, or another one than the one that is kept, or it is no root,
                or cannot be read or kept.
        """
        try:
            return self._root(given)
        except OSError as error:
            msg = (
                f"The root {given or self.folder / _FIRST_ROOT} cannot be read or kept: {error}. "
                "Correct the path, or give this user access to it."
            )
            raise UpdateError(msg) from error

    def _root(self, given: Path | None) -> bytes:
        kept = self.folder / _FIRST_ROOT
        if kept.is_file() and kept.stat().st_size:
            content = kept.read_bytes()
            # A file that is gone by now was only for the first time.
            if given is not None and given.is_file() and given.read_bytes() != content:
                msg = (
                    f"{given} is another root than the one that {self.folder} trusts. A rotated "
                    "root comes by itself; to follow another publisher, take a new folder."
                )
                raise UpdateError(msg)
            return content
        if given is None:
            msg = (
                f"{self.folder} trusts nobody yet. Copy metadata/1.root.json of the publication to "
                "the box, by a way that you trust, and give it with --box-root."
            )
            raise UpdateError(msg)
        from snow_runtime.update.signed import check_root

        content = given.read_bytes()
        check_root(content, given)
        with atomic_write(kept) as stream:
            stream.write(content)
        return content

    def state(self) -> BoxState:
        """Read what is known; of a file that is damaged, what the pointer says."""
        try:
            text = (self.folder / _STATE).read_text(encoding="utf-8")
            return BoxState.read("state", parse_json(text))
        except (OSError, ManifestError, UnicodeDecodeError):
            name = self.pointed()
            usable = name is not None and (self.generations / name / RECORD).is_file()
            return BoxState(good=name if usable else None)

    def save(self, state: BoxState) -> None:
        """Write what is known.

        Raises:
            OSError: The disk is full.
        """
        with atomic_write(self.folder / _STATE, "w") as stream:
            json.dump(asdict(state), stream, indent=1)

    def pointed(self) -> str | None:
        """Return the generation that the pointer names; None where there is none."""
        try:
            name = self.current.readlink().name
            return _generation("pointer", name)
        except (OSError, ManifestError):
            return None

    def point(self, generation: str | None) -> None:
        """Have the pointer name a generation, or nothing, in one step.

        Raises:
            OSError: The disk is full.
        """
        if generation is None:
            self.current.unlink(missing_ok=True)
        elif self.pointed() != generation:
            aside = self.folder / ".current"
            aside.unlink(missing_ok=True)
            aside.symlink_to(f"generations/{generation}")
            aside.replace(self.current)
        sync_folder(self.folder)

    def release(self, generation: str | None) -> Release | None:
        """Return what a generation consists of; None where it is not here, or no more."""
        if generation is None:
            return None
        try:
            content = (self.generations / generation / RECORD).read_bytes()
            return read_document(Release, content, "release")
        except (OSError, UntrustedError):
            return None

    def usable(self, state: BoxState) -> BoxState:
        """Leave out of what is known the generations that are not here."""

        def here(name: str | None) -> str | None:
            return None if self.release(name) is None else name

        previous, trial = here(state.previous), state.trial
        good = here(state.good) or previous
        if trial is not None and here(trial.generation) is None:
            trial = None
        return replace(
            state, good=good, previous=None if previous == good else previous, trial=trial
        )

    def kept(self) -> Iterator[tuple[Path, Release]]:
        """Yield the folders of the generations that are here, and what they consist of."""
        for path in sorted(self.generations.iterdir(), reverse=True):
            release = None if path.name.startswith(".") else self.release(path.name)
            if release is not None:
                yield path, release

    def sweep(self) -> None:
        """Remove files that a killed process did not come to rename; what fails is left."""
        for folder in (self.folder, self.incoming):
            for path in folder.glob(".*.tmp"):
                with suppress(OSError):
                    path.unlink()

    def clean(self, keep: set[str], *, incoming: bool) -> None:
        """Remove generations but some, and what came and is not needed; what fails is left.

        Args:
            keep: Names of generations to keep.
            incoming: Whether pieces that have come are removed too.
        """
        for path in self.generations.iterdir():
            if path.name in keep:
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                with suppress(OSError):
                    path.unlink()
        for path in self.incoming.iterdir() if incoming else ():
            with suppress(OSError):
                path.unlink()

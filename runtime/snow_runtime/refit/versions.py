"""The versions of a question's readout: each kept as it is, and which one answers.

::

    FOLDER/versions/QUESTION/0001.readout       the readout
    FOLDER/versions/QUESTION/0001.evidence.npz  what its pictures were answered while held out
    FOLDER/versions/QUESTION/0001.report.json   its learning curve
    FOLDER/versions/QUESTION/0001.json          what it is; written last: without it, it is none
    FOLDER/versions/QUESTION/state.json         which one is live or in the shadow, and why

They are files and not rows of the collection's database, so that a question's folder is all there
is of them, and deleting it deletes them. Each file is written whole or not at all; the state takes
its place in one step, and that is the switch.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
import time
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

from snow_runtime.errors import ReadoutError
from snow_runtime.file_lock import hold_lock
from snow_runtime.files import atomic_write, sha256_file, sync_folder, writing
from snow_runtime.readout.file import ReadoutFile
from snow_runtime.refit.evidence import HeldOutEvidence, Honest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

_LOGGER = logging.getLogger(__name__)
_VERSION_FILE: Final = re.compile(r"(\d{4,})\.json")
_NUMBERED: Final = re.compile(r"(\d{4,})\.(readout|evidence\.npz|report\.json|json)")
_TOLD: Final[set[tuple[Path, str]]] = set()
_ADVICE: Final = "Nothing was changed; free space or access."

VersionState = Literal["live", "shadow", "candidate", "retired"]
"""It answers; it answers beside the live one, unheard; it never answered; it did."""


@dataclass(frozen=True)
class Version:
    """One fit of a question's readout.

    Attributes:
        question: Name of the question.
        number: Number, from 1; none is given twice.
        created_at: Time of the fit, in seconds since 1970 (UTC).
        sha256: SHA-256 of the readout's file.
        data_sha256: SHA-256 of what it was fitted on: the pictures' own hashes and their labels.
        revision: Revision of the question's labels that it was fitted on.
        source_sha256: SHA-256 of the source whose features it reads.
        labels: How many pictures show each label.
        cross_validated: Share of right answers on held-out pictures, and its standard error.
        honest: The same on the random pictures alone, with an interval; None of none.
        remarks: What a user should know of its pictures, a sentence each.
        state: Whether it answers.
        reason: Why it is in that state.
    """

    question: str
    number: int
    created_at: float
    sha256: str
    data_sha256: str
    revision: int
    source_sha256: str
    labels: dict[str, int]
    cross_validated: tuple[float, float]
    honest: Honest | None
    remarks: tuple[str, ...] = ()
    state: VersionState = "candidate"
    reason: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        found = asdict(self)
        accuracy, error = self.cross_validated
        found["cross_validated"] = {"accuracy": accuracy, "standard_error": error}
        found["honest"] = None if self.honest is None else self.honest._asdict()
        found["remarks"] = list(self.remarks)
        return found


@dataclass(frozen=True)
class Shadow:
    """A version that answers beside the live one, unheard.

    Attributes:
        number: Number of the version.
        began_at: Time when it began, in seconds since 1970 (UTC).
        until: Time when it is decided.
        agreed: How many answers were the same as the live one's.
        differed: How many were not, by the live one's answer and its own, with ` → ` between.
    """

    number: int
    began_at: float
    until: float
    agreed: int = 0
    differed: Mapping[str, int] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {**asdict(self), "differed": dict(self.differed or {})}


@dataclass(frozen=True)
class VersionsState:
    """Which versions are at work.

    Attributes:
        live: Number of the one that answers; None: none does.
        shadow: The one beside it, if there is one.
        notes: State of those that were decided, and why, by number.
    """

    live: int | None = None
    shadow: Shadow | None = None
    notes: Mapping[int, tuple[VersionState, str]] | None = None

    def noted(self, number: int, state: VersionState, reason: str) -> VersionsState:
        """Return this with a note of a version."""
        return replace(self, notes={**(self.notes or {}), number: (state, reason)})

    def with_live(self, number: int, reason: str) -> VersionsState:
        """Return this with another version that answers."""
        state = replace(self, live=number)
        if self.live is not None and self.live != number:
            state = state.noted(self.live, "retired", f"version {number} took its place")
        if self.shadow is not None and self.shadow.number <= number:
            state = replace(state, shadow=None)
            if self.shadow.number < number:  # it was to be compared with the one before
                state = state.noted(self.shadow.number, "candidate", f"version {number} came first")
        return state.noted(number, "live", reason)


class Versions:
    """The versions of one question; several processes may use them.

    Args:
        folder: The question's folder below `versions`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.question = folder.name

    def all(self) -> tuple[Version, ...]:
        """Give the versions in order."""
        state = self.state()
        read = (self._read(number) for number in self._numbers(_VERSION_FILE))
        return tuple(self._with_state(each, state) for each in read if each is not None)

    def one(self, number: int) -> Version:
        """Give a version.

        Raises:
            ReadoutError: There is none of this number.
        """
        versions = {each.number: each for each in self.all()}
        if number not in versions:
            known = ", ".join(map(str, versions)) or "none"
            msg = f"{self.question} has no version {number}, expected one of: {known}. Name that."
            raise ReadoutError(msg)
        return versions[number]

    def readout(self, number: int) -> ReadoutFile:
        """Read a version's readout.

        Raises:
            ReadoutError: There is none, or it is damaged or another one.
        """
        version, path = self.one(number), self._path(number, "readout")
        found = ReadoutFile.read(path)
        if sha256_file(path) != version.sha256:
            msg = (
                f"{path} is not version {number} of {self.question}: its SHA-256 differs from the "
                "one noted. Go back to another version."
            )
            raise ReadoutError(msg)
        return found

    def evidence(self, number: int) -> HeldOutEvidence:
        """Read what a version's pictures were answered while they were held out.

        Raises:
            ReadoutError: It is missing or damaged.
        """
        path = self._path(number, "evidence.npz")
        try:
            return HeldOutEvidence.read(path)
        except (OSError, ValueError, KeyError) as error:
            msg = f"{path} cannot be read: {error}. Label a picture more, and it is fitted anew."
            raise ReadoutError(msg) from error

    def report(self, number: int) -> dict[str, Any]:
        """Read a version's learning curve; nothing where it is not there."""
        try:
            found = json.loads(self._path(number, "report.json").read_text("utf-8"))
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def state(self) -> VersionsState:
        """Read which versions are at work."""
        try:
            return _state_of(json.loads((self.folder / "state.json").read_text("utf-8")))
        except FileNotFoundError:
            return VersionsState()
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            self._warn(f"The state of {self.question} cannot be read: {error}")
            return VersionsState()

    def add(
        self, readout: Path, evidence: Path, facts: Version, report: Path | None = None
    ) -> Version:
        """Keep a fit as the next version; its files are moved here.

        Args:
            readout: The readout's file, on the same disk.
            evidence: The evidence's file.
            facts: What it is; number and hash are set here.
            report: Its learning curve's file, if there is one yet.

        Raises:
            ReadoutError: It cannot be written. No version is added.
        """
        if readout.exists():  # else it was deleted meanwhile, with its question
            self.folder.mkdir(parents=True, exist_ok=True)
        with writing(self.folder, ReadoutError, _ADVICE), self.changing():
            number = 1 + max(self._numbers(_NUMBERED), default=0)
            found = replace(facts, number=number, sha256=sha256_file(readout))
            readout.replace(self._path(number, "readout"))
            evidence.replace(self._path(number, "evidence.npz"))
            if report is not None:
                report.replace(self._path(number, "report.json"))
            sync_folder(self.folder)
            with atomic_write(self._path(number, "json"), "w") as stream:
                json.dump(_facts(found), stream)
        return found

    def add_report(self, number: int, report: Path) -> None:
        """Keep a version's learning curve, which comes after it.

        Raises:
            ReadoutError: It cannot be written.
        """
        with writing(self.folder, ReadoutError, _ADVICE):
            report.replace(self._path(number, "report.json"))

    def put_state(self, state: VersionsState) -> None:
        """Write which versions are at work, in one step.

        Raises:
            ReadoutError: It cannot be written; the old state stays.
        """
        shadow = None if state.shadow is None else state.shadow.to_dict()
        data = {"live": state.live, "shadow": shadow, "notes": dict(state.notes or {})}
        path = self.folder / "state.json"
        with writing(path, ReadoutError, _ADVICE), atomic_write(path, "w") as stream:
            json.dump(data, stream)

    def choose(self, number: int, reason: str) -> Version:
        """Let a version answer, where no model is at hand: a running box follows within seconds.

        Raises:
            ReadoutError: There is none of this number, it is damaged, or it cannot be noted.
        """
        self.readout(number)
        with writing(self.folder, ReadoutError, _ADVICE), self.changing():
            self.put_state(self.state().with_live(number, reason))
        return self.one(number)

    def sweep(self) -> None:
        """Delete what an interrupted process left that never became a version."""
        with writing(self.folder, ReadoutError, _ADVICE), self.changing():
            whole = set(self._numbers(_VERSION_FILE))
            for path in self.folder.iterdir():
                found = _NUMBERED.fullmatch(path.name)
                half = path.name.startswith(".") and path.suffix == ".tmp"
                if half or (found and int(found[1]) not in whole):
                    path.unlink()

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Within it no other process changes anything; what it waits for is short.

        Raises:
            ReadoutError: The folder is gone, with its question, or cannot be written.
        """
        with ExitStack() as stack:
            with writing(self.folder, ReadoutError, _ADVICE):  # never made here: it was deleted
                stack.enter_context(hold_lock(self.folder / ".lock"))
            yield

    def _warn(self, text: str) -> None:
        """Say what is damaged, once: it is looked at several times a second."""
        if (self.folder, text) not in _TOLD:
            _TOLD.add((self.folder, text))
            _LOGGER.warning("%s", text)

    def _with_state(self, version: Version, state: VersionsState) -> Version:
        noted, reason = (state.notes or {}).get(version.number, ("candidate", "not decided yet"))
        if version.number == state.live:
            noted = "live"
        elif state.shadow is not None and version.number == state.shadow.number:
            noted = "shadow"
        elif noted in {"live", "shadow"}:
            noted = "retired"
        return replace(version, state=noted, reason=reason)

    def _read(self, number: int) -> Version | None:
        """Read a version's facts; a damaged one is told, and left out."""
        try:
            data = json.loads(self._path(number, "json").read_text("utf-8"))
            data["honest"] = None if data["honest"] is None else Honest(**data["honest"])
            accuracy, error = data["cross_validated"]
            data["cross_validated"] = float(accuracy), float(error)
            data["remarks"] = tuple(data["remarks"])
            data["labels"] = {str(label): int(count) for label, count in data["labels"].items()}
            return replace(Version(**data), number=number)
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            self._warn(f"Version {number} of {self.question} is damaged: {error}")
            return None

    def _numbers(self, pattern: re.Pattern[str]) -> list[int]:
        if not self.folder.is_dir():
            return []
        matches = (pattern.fullmatch(path.name) for path in self.folder.iterdir())
        return sorted({int(match[1]) for match in matches if match})

    def _path(self, number: int, kind: str) -> Path:
        return self.folder / f"{number:04d}.{kind}"


def _state_of(data: Any) -> VersionsState:
    """Read a state; what is not as it should be raises one of the errors of reading."""
    live, said = data["live"], data["shadow"]
    shadow = None
    if said is not None:
        differed = {str(pair): int(count) for pair, count in (said["differed"] or {}).items()}
        shadow = Shadow(
            int(said["number"]),
            float(said["began_at"]),
            float(said["until"]),
            int(said["agreed"]),
            differed,
        )
    notes = {int(number): (note[0], str(note[1])) for number, note in data["notes"].items()}
    if wrong := [state for state, _ in notes.values() if state not in get_args(VersionState)]:
        msg = f"{wrong[0]!r} is no state"
        raise ValueError(msg)
    return VersionsState(None if live is None else int(live), shadow, notes)


def _facts(version: Version) -> dict[str, Any]:
    found = asdict(version)
    del found["state"], found["reason"]
    found["honest"] = None if version.honest is None else version.honest._asdict()
    return found


def data_hash(labels: Mapping[str, object], classes: tuple[str, ...], source_sha256: str) -> str:
    """Hash what a readout is fitted on.

    Args:
        labels: What each picture is labelled with, by the picture's SHA-256.
        classes: The labels there are.
        source_sha256: SHA-256 of the source whose features are read.
    """
    rows = sorted([sha256, label] for sha256, label in labels.items())
    text = json.dumps([source_sha256, classes, rows], separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def new_version(question: str, created_at: float | None = None, **facts: Any) -> Version:
    """Give the facts of a fit that has no number yet."""
    return Version(question, 0, time.time() if created_at is None else created_at, "", **facts)

"""What a box tells of itself: a JSON document in its folder, and retained by a broker."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, ClassVar, Final, Literal, TypeAlias

from snow_runtime.files import atomic_write
from snow_runtime.graph import field_checks
from snow_runtime.graph.document import Document
from snow_runtime.update.floor import Moment

if TYPE_CHECKING:
    from pathlib import Path

FILE: Final = "status.json"

State: TypeAlias = Literal[
    "settled",
    "waiting",
    "downloading",
    "trying",
    "watching",
    "failed",
    "unreachable",
    "untrusted",
    "full",
    "ended",
]


@dataclass(frozen=True)
class BoxStatus(Document):
    """What a box tells of itself.

    Attributes:
        format: Version of this document.
        box: Id of the box.
        state: `settled`: it runs what it is to run; `waiting`: for the hours in which it may
            download; `downloading`; `trying`: a release is tried aside; `watching`: it runs a
            release that has yet to prove itself; `failed`: it does not run what it is to run,
            because that failed here; `unreachable`: the publication cannot be read; `untrusted`:
            the publication is refused; `full`: the disk has no room; `ended`: the agent does not
            run.
        written: When this was written, by the box's clock, in UTC.
        every_s: The next one follows after so many seconds at the latest.
        tags: Tags of the box.
        release: Name of the release that it runs; None for none.
        number: Number of that release; 0 for none.
        previous: Name of the release that it can go back to; None for none.
        wanted: Name of the release that it is to run, as far as it knows; None where it may keep
            what it has.
        error: What is wrong, in words; None where nothing is.
        failed: Why releases failed here, by their names.
        metadata: Version of the publication's timestamp that was read last; 0 for none.
        expires: When what was read last expires, in UTC; None where nothing was read.
        got_bytes: Bytes read from the publication since the agent began.
        version: Version of snow-deploy.
    """

    prefix: ClassVar[str] = "status."
    format: Annotated[int, field_checks.one_of(1)]
    box: str
    state: State
    written: Moment
    every_s: Annotated[float, field_checks.magnitude]
    tags: tuple[str, ...] = ()
    release: str | None = None
    number: int = 0
    previous: str | None = None
    wanted: str | None = None
    error: str | None = None
    failed: dict[str, str] = field(default_factory=dict)
    metadata: int = 0
    expires: Moment | None = None
    got_bytes: int = 0
    version: str | None = None

    @property
    def moment(self) -> datetime:
        """When it was written."""
        return datetime.fromisoformat(self.written)

    def to_json(self) -> str:
        """Write it as JSON."""
        return json.dumps(asdict(self), indent=1)

    def save(self, folder: Path) -> None:
        """Write it into a box's folder, for those who look there.

        Raises:
            OSError: The disk is full.
        """
        with atomic_write(folder / FILE, "w") as stream:
            stream.write(self.to_json())

"""Which release a box is to have: by waves, each a share of all boxes, a tag, or some by name."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from snow_runtime.graph import field_checks
from snow_runtime.graph.document import Document
from snow_runtime.update.release import NAME

if TYPE_CHECKING:
    from collections.abc import Collection

_name = field_checks.matching(NAME, "the name of a release")


@dataclass(frozen=True)
class Wave(Document):
    """Boxes that get a release together: those that any of the three names.

    Attributes:
        share: Share of all boxes, by a hash of their ids.
        tags: Tags, of which a box has one.
        boxes: Ids of boxes.
    """

    prefix: ClassVar[str] = "wave."
    share: Annotated[float, field_checks.proportion] = 0.0
    tags: tuple[str, ...] = ()
    boxes: tuple[str, ...] = ()

    def has(self, box: str, tags: Collection[str]) -> bool:
        """Tell whether a box belongs to it."""
        return (
            place_of(box) < self.share or box in self.boxes or not set(tags).isdisjoint(self.tags)
        )


@dataclass(frozen=True)
class Rollout(Document):
    """What boxes are to have, and how far the way there has been opened.

    Attributes:
        format: Version of this document.
        settled: Name of the release for boxes that no wave has reached; None before the first one
            has reached all.
        coming: Name of the release that the waves bring; None where there is none.
        waves: The waves, in their order.
        open: How many waves have begun.
        state: `running`; `paused`: no more boxes begin; `aborted`: neither that, and those that
            have it keep it; `rolled-back`: all go back to the settled one; `done`: all have it.
        since: When the waves or the state changed last, in UTC.
    """

    prefix: ClassVar[str] = "rollout."
    format: Annotated[int, field_checks.one_of(1)]
    settled: Annotated[str, _name] | None
    coming: Annotated[str, _name] | None
    waves: tuple[Wave, ...] = ()
    open: int = 0
    state: Literal["running", "paused", "aborted", "rolled-back", "done"] = "done"
    since: str = "never"

    def reached(self, box: str, tags: Collection[str]) -> bool:
        """Tell whether a box belongs to a wave that has begun."""
        return any(wave.has(box, tags) for wave in self.waves[: self.open])

    def release_for(self, box: str, tags: Collection[str], present: str | None) -> str | None:
        """Return the release that a box is to have; None for what it has.

        Args:
            box: Id of the box.
            tags: Tags of the box.
            present: Name of the release that it runs; None for none.
        """
        if self.coming is None or self.state in {"rolled-back", "done"}:
            return self.settled
        if not self.reached(box, tags):
            return self.settled
        if self.state == "running" or present == self.coming:
            return self.coming
        return self.settled if present is None else None

    def to_json(self) -> str:
        """Write it as JSON."""
        return json.dumps(asdict(self), indent=1)


def place_of(box: str) -> float:
    """Return a box's place among all boxes, in [0, 1), by the SHA-256 of its id."""
    return int.from_bytes(hashlib.sha256(box.encode()).digest()[:6], "big") / 2**48

"""The newest metadata that a box has seen, and moments in documents."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, TypeAlias

from snow_runtime.graph import field_checks
from snow_runtime.graph.document import Document

if TYPE_CHECKING:
    from collections.abc import Mapping


def moment(where: str, value: object) -> str:
    """Check a moment such as `2026-11-29T20:00:00+00:00`."""
    text = field_checks.text(where, value)
    try:
        found = datetime.fromisoformat(text)
        usable = found.tzinfo is not None and bool(found.astimezone(timezone.utc))
    except (ValueError, OverflowError):
        usable = False
    if not usable:
        raise field_checks.refusal(where, value, "a moment in UTC, as ISO 8601 writes it")
    return text


Moment: TypeAlias = Annotated[str, moment]


@dataclass(frozen=True)
class Floor(Document):
    """The newest that was seen: nothing older is ever taken.

    The Update Framework's client keeps that too, in files that a power cut may empty.

    Attributes:
        timestamp: Version of the role of this name.
        snapshot: Version of the role of this name.
        targets: Version of the role of this name.
        issued: When the newest timestamp was signed, in UTC: it is no earlier than that now.
        timestamp_keys: Ids of the keys that signed the timestamp then.
        snapshot_keys: Ids of the keys that signed the snapshot then.
    """

    prefix: ClassVar[str] = "floor."
    timestamp: int = 0
    snapshot: int = 0
    targets: int = 0
    issued: Moment = "1970-01-01T00:00:00+00:00"
    timestamp_keys: tuple[str, ...] = ()
    snapshot_keys: tuple[str, ...] = ()

    def under(self, roles: Mapping[str, Any]) -> Floor:
        """Return what still counts where keys may have been replaced.

        A thief of keys signs the highest version that there is, and a moment far away. Once what
        those keys signed counts no more, neither does the floor that it left (section 5.3.11 of
        The Update Framework's specification).

        Args:
            roles: Keys and thresholds by role, as the root that is trusted now has them.
        """
        for role, before in (("timestamp", self.timestamp_keys), ("snapshot", self.snapshot_keys)):
            left = {*before} & {*roles[role].keyids}
            if before and len(left) < roles[role].threshold:
                return Floor()
        return self

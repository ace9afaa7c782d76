"""The newest metadata that a box has seen, and moments in documents."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, ClassVar, TypeAlias

from snow_runtime.graph import field_checks
from snow_runtime.graph.document import Document


def moment(where: str, value: object) -> str:
    """Check a moment such as `2026-11-29T20:00:00+00:00`."""
    text = field_checks.text(where, value)
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
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
    """

    prefix: ClassVar[str] = "floor."
    timestamp: int = 0
    snapshot: int = 0
    targets: int = 0
    issued: Moment = "1970-01-01T00:00:00+00:00"

"""That what a camera shows has left what was trained on, or has come back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from snow_runtime.drift.watch import DriftNow


@dataclass(frozen=True)
class DriftEvent:
    """A change of one question of one camera.

    Attributes:
        camera: Name of the camera.
        question: Name of the question.
        now: How it stands.
        at: When it was seen, in seconds since 1970 (UTC).
    """

    camera: str
    question: str
    now: DriftNow
    at: float

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "event": "drift",
            "camera": self.camera,
            "question": self.question,
            "drifted": self.now.drifted,
            "strange": self.now.strange,
            "blocks": self.now.blocks,
            "share": round(self.now.share, 3),
            "time": round(self.at, 3),
        }

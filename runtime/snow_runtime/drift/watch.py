"""One question of one camera, watched for drift: a sample of its frames, in blocks."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

from snow_runtime.drift.exceedance import Bound, fewest_strange

_DAY_S: Final = 86_400.0
_FEWEST: Final = 5  # frames of a block; of fewer nothing is said
_STRANGE: Final = 1.0  # beyond it, a picture is unlike those trained on


@dataclass(frozen=True)
class DriftOptions:
    """How drift is looked for.

    Attributes:
        sample_s: Time between two frames that are looked at, in seconds.
        block_s: Length of a block, in seconds; frames further apart are taken to be independent.
        blocks: How many last blocks are looked at together.
        quiet_days: The time that `error` is about, in days.
        error: Largest probability of a false alarm in that time, of each question of a camera.
    """

    sample_s: float = 60.0
    block_s: float = 1200.0
    blocks: int = 12
    quiet_days: float = 28.0
    error: float = 0.05

    @property
    def looks(self) -> int:
        """How often the blocks are looked at in that time."""
        return round(self.quiet_days * _DAY_S / self.block_s)


@dataclass(frozen=True)
class DriftNow:
    """How a question of a camera stands.

    Attributes:
        drifted: Whether its frames are unlike those trained on, beyond chance.
        strange: Number of the last blocks that are strange.
        blocks: Number of the last blocks that there are.
        fewest: Number of strange ones that it takes; None where no number would do.
        share: Share of the last blocks' frames that are beyond the bound, 0 to 1.
        since: When it drifted, in seconds since 1970 (UTC); None where it has not.
    """

    drifted: bool
    strange: int
    blocks: int
    fewest: int | None
    share: float
    since: float | None


class Watch:
    """Watches one question of one camera.

    Args:
        bound: What its bound was found on.
        options: How it is watched.
    """

    def __init__(self, bound: Bound, options: DriftOptions) -> None:
        self.bound = bound
        self._options = options
        self._fewest = fewest_strange(bound, options.blocks, options.looks, options.error)
        self._blocks: deque[float] = deque(maxlen=options.blocks)
        self._beyond = self._frames = 0
        self._began: float | None = None
        self._next = float("-inf")
        self._since: float | None = None

    @property
    def now(self) -> DriftNow:
        """How it stands."""
        strange = sum(share > 0.5 for share in self._blocks)
        share = sum(self._blocks) / len(self._blocks) if self._blocks else 0.0
        return DriftNow(
            self._since is not None, strange, len(self._blocks), self._fewest, share, self._since
        )

    def is_due(self, at: float) -> bool:
        """Tell whether a frame of this time is looked at."""
        began = self._began
        return began is None or not 0 <= at - began < self._options.block_s or at >= self._next

    def see(self, unlikeness: float, at: float) -> bool:
        """Take a frame; return whether that changed what is said.

        Args:
            unlikeness: How unlike those trained on it is; above 1 it is beyond the bound.
            at: When it was captured, in seconds since 1970 (UTC).
        """
        if not self.is_due(at):
            return False
        options = self._options
        ended = self._began is None or not 0 <= at - self._began < options.block_s
        changed = ended and self._end_block(at)
        self._next = at + options.sample_s
        self._frames += 1
        self._beyond += unlikeness > _STRANGE
        return changed

    def _end_block(self, at: float) -> bool:
        """Begin a block; return whether the one that ended changed what is said."""
        enough = self._began is not None and self._frames >= _FEWEST
        if enough:
            self._blocks.append(self._beyond / self._frames)
        self._began, self._frames, self._beyond = at, 0, 0
        return enough and self._judge(at)

    def _judge(self, at: float) -> bool:
        fewest, strange = self._fewest, self.now.strange
        if self._since is None and fewest is not None and strange >= fewest:
            self._since = at
            return True
        # It takes as many usual blocks to end as strange ones to begin, so that nothing flickers.
        if self._since is not None and len(self._blocks) - strange >= (fewest or 1):
            self._since = None
            return True
        return False

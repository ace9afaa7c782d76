"""Whether a question is to be fitted, and what became of the last attempt."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from snow_runtime.refit.options import RefitOptions


@dataclass
class Wanted:
    """What is known of a question.

    Attributes:
        revision: Revision of its labels that was looked at last.
        wanted_since: When a fit was wanted first, in monotonic seconds; None: none is.
        changed_at: When its labels changed last.
        text: What became of the last attempt, in words; "" where all is well.
        failed: Whether that is a fault.
    """

    revision: int = -1
    wanted_since: float | None = None
    changed_at: float = 0.0
    text: str = ""
    failed: bool = False

    def want(self) -> None:
        """Have it fitted soon."""
        self.changed_at = time.monotonic()
        if self.wanted_since is None:
            self.wanted_since = self.changed_at

    def waits_long(self, options: RefitOptions) -> bool:
        """Tell whether it was to be fitted long ago."""
        if self.wanted_since is None:
            return False
        return time.monotonic() - self.wanted_since >= 2 * options.most_wait_s

    def is_due(self, options: RefitOptions) -> bool:
        """Tell whether it is time."""
        if self.wanted_since is None:
            return False
        now = time.monotonic()
        quiet = now - self.changed_at >= options.quiet_s
        return quiet or now - self.wanted_since >= options.most_wait_s

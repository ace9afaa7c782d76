"""What one answer says about a state."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from snow_runtime.results import PRESENT

if TYPE_CHECKING:
    from snow_runtime.app.states.rules import StateRules

UNKNOWN: Final = "unknown"
"""The state of a question that the model cannot answer."""
STALE: Final = "stale"
"""The state of a question that has had no answer for too long, or none yet."""
ON: Final = "on"
"""The state of one of several labels that is right."""
OFF: Final = "off"
"""The state of one of several labels that is not."""
_RESERVED: Final = re.compile(rf"(?:{UNKNOWN}|{STALE})_*")


def state_of(label: str) -> str:
    """Return the state of a label: itself; `unknown_` where a label is called `unknown` itself."""
    return f"{label}_" if _RESERVED.fullmatch(label) else label


def vote_for_one(
    present: str, label: str, probability: float, rules: StateRules, *, unknown: bool = False
) -> str:
    """Return the state that an answer speaks for, where one label is right.

    Args:
        present: The state.
        label: The most probable label.
        probability: Its probability, in [0, 1].
        rules: The thresholds.
        unknown: Whether the model says that it cannot tell.
    """
    lower, upper = rules.thresholds(0.0)
    state = state_of(label)
    sure = probability >= (lower if state == present else upper)
    return state if sure and not unknown else UNKNOWN


def vote_for_each(
    present: str, probability: float, rules: StateRules, *, unknown: bool = False
) -> str:
    """Return whether one of several labels is on or off, or that an answer cannot tell.

    Args:
        present: The label's state.
        probability: Its probability, in [0, 1].
        rules: The thresholds.
        unknown: Whether the model says that it cannot tell.
    """
    if unknown:
        return UNKNOWN
    lower, upper = rules.thresholds(PRESENT)
    return ON if probability >= (lower if present == ON else upper) else OFF

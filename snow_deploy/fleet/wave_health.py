"""Whether the boxes that have a release do well, by what they tell: the next wave waits for it."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING, Final

from snow_deploy.fleet.errors import PublishError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from snow_runtime.update.rollout import Rollout
    from snow_runtime.update.status import BoxStatus

LATE: Final = 3
"""A box is missing where it has said nothing for so many times its own interval."""
_SHOWN: Final = 5


def is_late(status: BoxStatus, now: datetime | None = None) -> bool:
    """Tell whether a box should have said something since."""
    age = (now or datetime.now(timezone.utc)) - status.moment
    return age.total_seconds() > LATE * status.every_s


def check_health(
    rollout: Rollout, statuses: Iterable[BoxStatus], now: datetime | None = None
) -> None:
    """Look whether all boxes of the open waves have the release, and do well.

    Args:
        rollout: How far the way has been opened.
        statuses: What the boxes tell.
        now: The present time; None for the clock's.

    Raises:
        PublishError: One has not, or does not, or none belongs to an open wave.
    """
    reached = [each for each in statuses if rollout.reached(each.box, each.tags)]
    faults = [fault for status in reached if (fault := _fault(rollout, status, now))]
    if not reached:
        msg = "no box of the open waves has told how it does"
    elif faults:
        more = f", and {len(faults) - _SHOWN} more" if len(faults) > _SHOWN else ""
        msg = f"{len(faults)} of {len(reached)} boxes do not do well: "
        msg += "; ".join(faults[:_SHOWN]) + more
    else:
        return
    msg = f"The next wave of {rollout.coming} is not opened: {msg}. Look at them, or give --force."
    raise PublishError(msg)


def _fault(rollout: Rollout, status: BoxStatus, now: datetime | None) -> str | None:
    if status.release != rollout.coming:
        why = status.failed.get(rollout.coming or "")
        return f"{status.box} has {status.release or 'no release'}" + (f" ({why})" if why else "")
    if status.state == "watching":
        return f"{status.box} still watches it"
    if status.state in {"failed", "untrusted", "full", "ended"}:
        return f"{status.box} is {status.state}"
    if is_late(status, now):
        return f"{status.box} has said nothing since {status.written}"
    return None

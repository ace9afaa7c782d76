"""Whether the boxes that have a release do well, by what they tell: the next wave waits for it."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Final

from snow_deploy.fleet.errors import PublishError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from snow_runtime.update.rollout import Rollout
    from snow_runtime.update.status import BoxStatus

LATE: Final = 3
"""A box is missing where it has said nothing for so many times its own interval."""
_AHEAD: Final = timedelta(minutes=5)  # clocks differ a little
_SHOWN: Final = 5


def is_late(status: BoxStatus, now: datetime | None = None) -> bool:
    """Tell whether a box should have said something since."""
    age = (now or datetime.now(timezone.utc)) - status.moment
    return age.total_seconds() > LATE * status.every_s


def is_ahead(status: BoxStatus, now: datetime | None = None) -> bool:
    """Tell whether a box tells from the future: then nobody knows since when it is silent."""
    return status.moment - (now or datetime.now(timezone.utc)) > _AHEAD


def check_health(
    rollout: Rollout,
    statuses: Iterable[BoxStatus],
    now: datetime | None = None,
    expected: Mapping[str, Collection[str]] | None = None,
) -> None:
    """Look whether all boxes of the open waves have the release, and do well.

    Args:
        rollout: How far the way has been opened.
        statuses: What the boxes tell.
        now: The present time; None for the clock's.
        expected: Boxes that there are, whether or not they have told anything, by id, with their
            tags as far as those are known.

    Raises:
        PublishError: One has not, or does not, or none belongs to an open wave.
    """
    told = list(statuses)
    reached = [each for each in told if rollout.reached(each.box, each.tags)]
    faults = [fault for status in reached if (fault := _fault(rollout, status, now))]
    named = {box for wave in rollout.waves[: rollout.open] for box in wave.boxes}
    there = {} if expected is None else expected
    known = named | {box for box, tags in there.items() if rollout.reached(box, tags)}
    heard = {each.box for each in told}
    silent = sorted(known - heard)
    faults += [f"{box} has never told anything" for box in silent]
    if any(wave.tags for wave in rollout.waves[: rollout.open]):
        unknown = sorted(box for box in there.keys() - heard - known if not there[box])
        silent += unknown
        faults += [
            f"{box} has never told anything, its tags neither (write them behind its id)"
            for box in unknown
        ]
    if not reached and not silent:
        msg = "no box of the open waves has told how it does"
    elif faults:
        more = f", and {len(faults) - _SHOWN} more" if len(faults) > _SHOWN else ""
        msg = f"{len(faults)} of {len(reached) + len(silent)} boxes do not do well: "
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
    if is_ahead(status, now):
        return f"the clock of {status.box} is ahead, at {status.written}"
    if is_late(status, now):
        return f"{status.box} has said nothing since {status.written}"
    return None

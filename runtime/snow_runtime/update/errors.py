"""What can go wrong with an update.

::

    UpdateError             an update that cannot be made
    ├── UnreachableError    nothing can be read there now: trying again later helps
    │   └── AbsentError     the place answers, and has no such file
    ├── OutsideHoursError   it may not be downloaded at this time of the day
    ├── UntrustedError      what was read is not what the publisher signed, or no longer
    ├── NoSpaceError        the disk has no room for it
    ├── RejectedError       the release does not do here what it must: only another one helps
    └── StoppedError        the agent ends
"""

from __future__ import annotations

import errno
from typing import Final

from snow_runtime.errors import SnowError

_FULL: Final = (errno.ENOSPC, errno.EDQUOT)


class UpdateError(SnowError):
    """An update cannot be made."""


class UnreachableError(UpdateError):
    """A server or folder cannot be read now."""


class AbsentError(UnreachableError):
    """A server or folder has no such file."""


class OutsideHoursError(UpdateError):
    """It is not the time of the day in which a box may download."""


class UntrustedError(UpdateError):
    """What was read is not signed as it must be, older than what was seen, expired or damaged."""


class NoSpaceError(UpdateError):
    """The disk is too full for an update."""


class RejectedError(UpdateError):
    """A release fails its self-check, crashes, or is slower than it may be on this box."""


class StoppedError(UpdateError):
    """The agent ends in the middle of an update, which goes on another time."""


def is_full_disk(error: BaseException | None) -> bool:
    """Tell whether an error is one of a full disk, or was raised because of one."""
    chain: list[BaseException] = []
    while error is not None and error not in chain:
        chain.append(error)
        error = error.__cause__
    return any(
        isinstance(each, NoSpaceError) or (isinstance(each, OSError) and each.errno in _FULL)
        for each in chain
    )

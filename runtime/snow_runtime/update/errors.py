"""What can go wrong with an update.

::

    UpdateError             an update that cannot be made
    ├── UnreachableError    nothing can be read there now: trying again later helps
    │   └── AbsentError     the place answers, and has no such file
    ├── OutsideHoursError   it may not be downloaded at this time of the day
    ├── UntrustedError      what was read is not what the publisher signed, or no longer
    ├── NoSpaceError        the disk has no room for it
    └── RejectedError       the release does not do here what it must: only another one helps
"""

from __future__ import annotations

from snow_runtime.errors import SnowError


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

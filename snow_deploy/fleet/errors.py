"""What can go wrong with publishing."""

from __future__ import annotations

from snow_runtime.errors import SnowError


class PublishError(SnowError):
    """Something cannot be published: a missing key, a name that is taken, a file that is none."""


class NotSignedYetError(PublishError):
    """Something is not published yet: it waits for signatures of other people."""

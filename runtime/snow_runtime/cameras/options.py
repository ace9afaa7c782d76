"""How a camera is to be read."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final, Literal

from snow_runtime.cameras.backoff import Backoff

Mode = Literal["newest", "every-frame"]

_SHA256: Final = re.compile(r"[0-9A-Fa-f]{64}")


@dataclass(frozen=True, slots=True)
class CameraOptions:
    """How a camera is to be read.

    Attributes:
        queue_frames: Most frames that wait, in mode ``every-frame``, before the source has to.
        open_timeout_s: Seconds that making a connection may take.
        stall_s: Seconds without a new picture after which a connection counts as lost; also the
            age at which a frame that nobody fetched is thrown away in mode ``newest``. For a
            camera that sends less than one picture in five seconds, make it longer.
        close_timeout_s: Seconds that the end of a connection is waited for. A read that hangs for
            longer, which only a driver or a library can do, is left behind and counted.
        frozen_s: A camera that has sent nothing but one and the same picture for so many seconds
            counts as frozen. Until it sends another, that picture is not handed out again.
        attempts: Number of connections in a row that were not made, or did not last, after which
            the camera counts as failed; None for no bound.
        backoff: The delays between attempts. After a camera has refused access they are one to
            five minutes, whatever this says: asking often may lock the account.
        tls_fingerprint: SHA-256 of an HTTPS camera's certificate in 64 hexadecimal digits, with or
            without colons. That certificate is accepted, and no other.
        tls_host: Name that an HTTPS camera's certificate is for, if it is not the one in the
            address.

    Raises:
        ValueError: A value is out of its range.
    """

    queue_frames: int = 4
    open_timeout_s: float = 10.0
    stall_s: float = 5.0
    close_timeout_s: float = 2.0
    frozen_s: float = 10.0
    attempts: int | None = None
    backoff: Backoff = field(default_factory=Backoff)
    tls_fingerprint: str | None = None
    tls_host: str | None = None

    def __post_init__(self) -> None:
        """Check the ranges."""
        times = (self.open_timeout_s, self.stall_s, self.close_timeout_s, self.frozen_s)
        counts = (self.queue_frames, 1 if self.attempts is None else self.attempts)
        if min(counts) < 1 or not all(0 < seconds < float("inf") for seconds in times):
            msg = (
                f"Cannot read a camera as {self} says: expected times above 0 and counts of at "
                "least 1. Change what is out of its range."
            )
            raise ValueError(msg)
        digits = (self.tls_fingerprint or "").replace(":", "")
        if self.tls_fingerprint is not None and not _SHA256.fullmatch(digits):
            msg = (
                f"The fingerprint {self.tls_fingerprint!r} is none, expected the 64 hexadecimal "
                "digits of a SHA-256. Take it from: openssl x509 -noout -sha256 -fingerprint -in "
                "CERTIFICATE."
            )
            raise ValueError(msg)

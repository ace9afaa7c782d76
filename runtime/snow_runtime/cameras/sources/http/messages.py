"""What to tell the user when a camera's answer is no stream."""

from __future__ import annotations

import hashlib
import http.client
import ssl
from typing import TYPE_CHECKING, Final

from snow_runtime.cameras.sources.source import LostError, RefusedError

if TYPE_CHECKING:
    from snow_runtime.cameras.sources.http.address import Target

_LOOK_S: Final = 1.5
_UNAUTHORIZED: Final = 401
_ADVICE: Final = {
    400: "Check the address",
    404: "The camera has nothing there: check the path",
    410: "The camera has nothing there: check the path",
    429: "It is asked too often, or by too many",
    503: "It may be starting, or serve as many as it can",
}
# What cameras and servers offer beside MJPEG: by Content-Type, and by how it begins.
_OTHERS: Final = {
    "video/mp4": "an MP4 file",
    "video/quicktime": "an MP4 file",
    "video/webm": "a WebM file",
    "video/x-matroska": "a Matroska file",
    "video/x-flv": "Flash video",
    "video/x-msvideo": "an AVI file",
    "video/mpeg": "an MPEG program stream",
    "video/ogg": "an Ogg file",
    "video/mp2t": "an MPEG transport stream",
    "application/vnd.apple.mpegurl": "an HLS playlist",
    "application/x-mpegurl": "an HLS playlist",
    "audio/mpegurl": "an HLS playlist",
    "audio/x-mpegurl": "an HLS playlist",
    "application/dash+xml": "a DASH playlist",
}
_BEGINNINGS: Final = (
    (4, b"ftyp", "an MP4 file"),
    (0, b"#EXTM3U", "an HLS playlist"),
    (0, b"\x1a\x45\xdf\xa3", "a Matroska or WebM file"),
    (0, b"FLV\x01", "Flash video"),
    (8, b"AVI ", "an AVI file"),
    (0, b"OggS", "an Ogg file"),
    (0, b"\0\0\0\1", "raw H.264 or H.265"),
    (0, b"\0\0\1\xba", "an MPEG program stream"),
    (0, b"\x47\x40\x00", "an MPEG transport stream"),  # its table of programs, as it begins
    (0, b"\x47\x40\x11", "an MPEG transport stream"),
)


def other_kind(content_type: str, beginning: bytes = b"") -> str | None:
    """Name the kind of video that an answer is, if it is one that is not read here.

    Args:
        content_type: Content type as announced, in lower case and without parameters.
        beginning: The answer's first bytes.
    """
    for at, sign, kind in _BEGINNINGS:
        if beginning[at : at + len(sign)] == sign:
            return kind
    return None if beginning else _OTHERS.get(content_type)


def refused(text: str, code: int, asked: str, *, known: bool) -> RefusedError:
    """Say that a camera refuses access.

    Args:
        text: The camera's address as it may be shown.
        code: 401 or 403.
        asked: The answer's ``WWW-Authenticate``; may be empty.
        known: Whether a user and a password were given.
    """
    scheme = asked.partition(" ")[0][:40] or "nothing"
    other = asked and not any(word in asked.lower() for word in ("basic", "digest"))
    if other:
        advice = "Only Basic and Digest are known here: allow one in the camera's settings"
    elif code == _UNAUTHORIZED and known:
        advice = "The user or the password is wrong: correct the address"
    else:
        advice = "Give a user and password that may see it, as in 'http://USER:PASSWORD@HOST/…'"
    return RefusedError(
        f"The camera {text!r} refuses access: it answered {code} and asks for {scheme!r}, "
        f"expected 200. {advice}.",
        password=code == _UNAUTHORIZED,
        code=code,
    )


def unexpected(text: str, code: int, seen: str = "") -> LostError:
    """Say that a camera answered with something else than 200."""
    advice = seen or _ADVICE.get(code, "Check the address, and the camera")
    return LostError(
        f"The camera {text!r} answered {code}, expected 200. {advice[:1].upper()}{advice[1:]}.",
        code=code,
    )


def cause_of(error: BaseException) -> BaseException:
    """Find what lies behind an error that libraries have wrapped, whose text may hold the path."""
    todo: list[object] = [error]
    seen: list[BaseException] = []
    while todo:
        found = todo.pop(0)
        if not isinstance(found, BaseException) or found in seen:
            continue
        seen.append(found)
        if "Timeout" in type(found).__name__:
            return TimeoutError()
        todo += [getattr(found, "reason", None), *found.args, found.__cause__, found.__context__]
    plain: list[BaseException] = [e for e in seen if isinstance(e, OSError) and e.strerror]
    plain += [e for e in seen if isinstance(e, http.client.HTTPException)]
    plain += [e for e in seen if "SSL" in type(e).__name__ and type(e.args[0]) is str]
    return plain[0] if plain else type(error)()


def words_of(cause: BaseException) -> str:
    """Give the words of a cause."""
    if isinstance(cause, TimeoutError) and not cause.strerror:
        return "nothing came in time"
    if isinstance(cause, OSError) and cause.strerror:
        return cause.strerror
    return str(cause) or type(cause).__name__


def is_about_certificate(cause: BaseException) -> bool:
    """Tell whether a certificate was not the expected one."""
    return isinstance(cause, ssl.SSLCertVerificationError) or "Fingerprints" in str(cause)


def certificate_advice(target: Target) -> str:
    """Look at a camera's certificate, and say how to accept it."""
    try:
        pem = ssl.get_server_certificate((target.host, target.port), timeout=_LOOK_S)
        seen = hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest()
    except (OSError, ValueError):
        seen = ""
    shown = f" {seen}" if seen else ""
    return (
        f"If the certificate with the SHA-256 fingerprint{shown} is the camera's own, accept it "
        "with --tls-fingerprint; if it is for another name, give that with --tls-host; name an "
        "authority of your own in the environment variable SSL_CERT_FILE"
    )

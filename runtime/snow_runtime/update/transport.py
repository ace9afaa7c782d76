"""Where a publication lies: on a web server, or in a folder such as a USB stick."""

from __future__ import annotations

import os
import stat
import time
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import unquote, urljoin, urlsplit, urlunsplit

from snow_runtime.errors import InputError, MissingDependencyError
from snow_runtime.install_hint import pip_install
from snow_runtime.secret_references import resolve_secrets
from snow_runtime.update.errors import AbsentError, UnreachableError
from snow_runtime.update.limits import RateLimit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_CHUNK_BYTES: Final = 1 << 16
_CONNECT_S: Final = 20.0
_SILENCE_S: Final = 60.0
_REDIRECTS: Final = 3
_PACE_S: Final = 60.0
_PACE_BYTES: Final = 6_000  # in that time: a server that drips holds a box up for ever
_ABSENT: Final = (
    HTTPStatus.NOT_FOUND,
    HTTPStatus.FORBIDDEN,
)  # buckets say 403


class Transport(Protocol):
    """A place that files are read from, by paths with `/`."""

    @property
    def shown(self) -> str:
        """What the place is called in messages, without secrets."""
        ...

    @property
    def received_bytes(self) -> int:
        """How many bytes of files have been read from it."""
        ...

    def read(self, path: str, offset: int = 0) -> Iterator[bytes]:
        """Read a file from some byte on.

        Raises:
            AbsentError: There is no such file.
            UnreachableError: The place cannot be read, or no further.
        """
        ...


class FolderTransport:
    """A publication in a folder.

    Args:
        folder: The folder, in which `metadata` lies.
        limit: How fast to read.
    """

    def __init__(self, folder: Path, limit: RateLimit | None = None) -> None:
        self._folder = folder
        self._limit = limit or RateLimit(None)
        self.received_bytes = 0

    @property
    def shown(self) -> str:
        """What the folder is called in messages."""
        return str(self._folder)

    def read(self, path: str, offset: int = 0) -> Iterator[bytes]:
        """Read a file from some byte on; see :meth:`Transport.read`."""
        try:
            if not self._folder.is_dir():
                raise UnreachableError(_failed(self.shown, path, "the folder is not there"))
            with os.fdopen(self._open(path), "rb") as stream:
                stream.seek(offset)
                while chunk := stream.read(self._limit.chunk_bytes(_CHUNK_BYTES)):
                    self.received_bytes += len(chunk)
                    yield chunk
                    self._limit.took(len(chunk))
        except FileNotFoundError as error:
            raise AbsentError(_failed(self.shown, path, "it is not there")) from error
        except OSError as error:
            raise UnreachableError(_failed(self.shown, path, str(error))) from error

    def _open(self, path: str) -> int:
        """Open a plain file of the folder: whoever made a stick may have links and devices there.

        Opening a pipe waits for ever, and opening a device may do anything.
        """
        try:
            folder = self._folder.resolve()
            file = (folder / path).resolve()
        except RuntimeError as error:  # a link to itself, before Python 3.13
            raise UnreachableError(_failed(self.shown, path, str(error))) from error
        if not file.is_relative_to(folder):
            raise UnreachableError(_failed(self.shown, path, "a link leads out of the folder"))
        if not stat.S_ISREG(file.lstat().st_mode):
            raise UnreachableError(_failed(self.shown, path, "it is no file"))
        flags = (getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_BINARY"))
        return os.open(file, os.O_RDONLY | sum(flags))


class HttpTransport:
    """A publication on a web server or in a bucket.

    Args:
        url: Address of the folder in which `metadata` lies; user and password may stand in it.
        limit: How fast to read.
        authorities: A file of the certificates to trust, PEM; None for the system's.
    """

    def __init__(
        self, url: str, limit: RateLimit | None = None, authorities: Path | None = None
    ) -> None:
        try:
            import urllib3
        except ImportError as error:
            msg = f"Updates need urllib3, which is not installed; run: {pip_install('agent')}"
            raise MissingDependencyError(msg) from error
        self._urllib3: Any = urllib3
        parts = urlsplit(url)
        place = parts.netloc.rpartition("@")[2]
        self.shown = urlunsplit((parts.scheme, place, parts.path.rstrip("/"), "", ""))
        self._limit = limit or RateLimit(None)
        headers = {"Accept-Encoding": "identity", "User-Agent": "snow-deploy"}
        if parts.username is not None:
            login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            headers |= urllib3.make_headers(basic_auth=login)
        self._headers = headers
        trusted: dict[str, Any] = {} if authorities is None else {"ca_certs": str(authorities)}
        self._pool = urllib3.PoolManager(num_pools=2, maxsize=1, **trusted)
        self.received_bytes = 0

    def read(self, path: str, offset: int = 0) -> Iterator[bytes]:
        """Read a file from some byte on; see :meth:`Transport.read`."""
        try:
            yield from self._read(path, offset)
        except self._urllib3.exceptions.HTTPError as error:
            raise UnreachableError(_failed(self.shown, path, str(error))) from error

    def _read(self, path: str, offset: int) -> Iterator[bytes]:
        answer = self._answer(path, offset)
        try:
            begin = self._begin(path, offset, answer)
            pace, most = _Pace(), self._limit.chunk_bytes(_CHUNK_BYTES)
            while chunk := pace.timed(lambda: answer.read1(most, decode_content=False)):
                self.received_bytes += len(chunk)
                skipped = min(max(offset - begin, 0), len(chunk))
                begin += len(chunk)
                if skipped < len(chunk):
                    yield chunk[skipped:]
                self._limit.took(len(chunk))
                if pace.too_slow(len(chunk)):
                    msg = f"the server gave less than {_PACE_BYTES} bytes in {_PACE_S:g} s"
                    raise UnreachableError(_failed(self.shown, path, msg))
        finally:
            answer.close()

    def _answer(self, path: str, offset: int) -> Any:
        """Ask for a file; a server may send a box to another place of its own, and no further."""
        headers = {**self._headers, **({"Range": f"bytes={offset}-"} if offset else {})}
        timeout = self._urllib3.Timeout(connect=_CONNECT_S, read=_SILENCE_S)
        url = f"{self.shown}/{path}"
        for _ in range(_REDIRECTS + 1):
            answer = self._pool.request(
                "GET",
                url,
                headers=headers,
                preload_content=False,
                timeout=timeout,
                retries=False,
                redirect=False,
            )
            target = answer.get_redirect_location()
            if not target:
                return answer
            answer.close()
            url = _followed(url, target)
            if not url:
                msg = "the server sends boxes to another host; give that host's address itself"
                raise UnreachableError(_failed(self.shown, path, msg))
        raise UnreachableError(_failed(self.shown, path, "the server sends boxes round in circles"))

    def _begin(self, path: str, offset: int, answer: Any) -> int:
        """Return the number of the first byte that comes; a server may not know of ranges."""
        status = answer.status
        if status in _ABSENT:
            raise AbsentError(_failed(self.shown, path, f"the server answers {status}"))
        if status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            msg = f"the server has fewer than {offset} bytes of it"
            raise UnreachableError(_failed(self.shown, path, msg))
        packed = answer.headers.get("Content-Encoding", "identity").strip().lower()
        if packed not in {"", "identity"}:
            msg = f"the server packs it ({packed}) although it is to send files as they are"
            raise UnreachableError(_failed(self.shown, path, msg))
        if status == HTTPStatus.OK:
            return 0
        given = answer.headers.get("Content-Range", "")
        if status != HTTPStatus.PARTIAL_CONTENT or not given.startswith(f"bytes {offset}-"):
            raise UnreachableError(_failed(self.shown, path, f"the server answers {status}"))
        return offset


class _Pace:
    """How fast a server gives, by the time that is spent in waiting for it alone."""

    def __init__(self) -> None:
        self._waited_s = 0.0
        self._got_bytes = 0

    def timed(self, read: Callable[[], bytes]) -> bytes:
        """Read, and count the time."""
        began = time.monotonic()
        try:
            return read()
        finally:
            self._waited_s += time.monotonic() - began

    def too_slow(self, size_bytes: int) -> bool:
        """Count bytes; tell whether a stretch of time is over in which too few came."""
        self._got_bytes += size_bytes
        if self._waited_s < _PACE_S:
            return False
        few = self._got_bytes < _PACE_BYTES
        self._waited_s, self._got_bytes = 0.0, 0
        return few


def _followed(url: str, target: str) -> str:
    """Return where a redirection leads; nothing where that is another host, or no address."""
    try:
        one, found = urlsplit(url), urljoin(url, target)
        two = urlsplit(found)
        same_port = (one.scheme, one.port) == (two.scheme, two.port)
    except ValueError:
        return ""
    safer = (one.scheme, two.scheme) == ("http", "https")
    same_host = one.hostname == two.hostname and "@" not in two.netloc
    return found if same_host and (same_port or safer) else ""


def open_transport(
    place: str, limit: RateLimit | None = None, authorities: Path | None = None
) -> Transport:
    """Open a place by its name: `https://HOST/PATH`, `http://…`, or a folder.

    Args:
        place: The name; references to secrets in an address are resolved.
        limit: How fast to read.
        authorities: A file of the certificates to trust, PEM; None for the system's.

    Raises:
        InputError: It is no place.
        MissingDependencyError: The library that reads it is not installed.
    """
    scheme, colon, _ = place.partition("://")
    if not colon:
        return FolderTransport(Path(place), limit)
    if scheme == "file":
        return FolderTransport(Path(unquote(urlsplit(place).path)), limit)
    url = resolve_secrets(place, escape=True)
    try:
        parts = urlsplit(url)
        usable = scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or parts.query or parts.fragment:
        msg = (
            "The publication's place is neither a folder nor an address of one, expected "
            "https://HOST/PATH without '?' and '#'. Correct it."
        )
        raise InputError(msg)
    return HttpTransport(url, limit, authorities)


def _failed(place: str, path: str, why: str) -> str:
    return f"{path} cannot be read from {place}: {why.rstrip('.')}. It is tried again later."

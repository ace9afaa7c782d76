"""Where a publication lies: on a web server, or in a folder such as a USB stick."""

from __future__ import annotations

from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import unquote, urlsplit, urlunsplit

from snow_runtime.errors import InputError, MissingDependencyError
from snow_runtime.install_hint import pip_install
from snow_runtime.secret_references import resolve_secrets
from snow_runtime.update.errors import AbsentError, UnreachableError
from snow_runtime.update.limits import RateLimit

if TYPE_CHECKING:
    from collections.abc import Iterator

_CHUNK_BYTES: Final = 1 << 16
_CONNECT_S: Final = 20.0
_SILENCE_S: Final = 60.0
_REDIRECTS: Final = 3
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
            with (self._folder / path).open("rb") as stream:
                stream.seek(offset)
                while chunk := stream.read(_CHUNK_BYTES):
                    self.received_bytes += len(chunk)
                    yield chunk
                    self._limit.took(len(chunk))
        except FileNotFoundError as error:
            raise AbsentError(_failed(self.shown, path, "it is not there")) from error
        except OSError as error:
            raise UnreachableError(_failed(self.shown, path, str(error))) from error


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
        headers = {**self._headers, **({"Range": f"bytes={offset}-"} if offset else {})}
        timeout = self._urllib3.Timeout(connect=_CONNECT_S, read=_SILENCE_S)
        retries = self._urllib3.Retry(0, redirect=_REDIRECTS)
        answer = self._pool.request(
            "GET",
            f"{self.shown}/{path}",
            headers=headers,
            preload_content=False,
            timeout=timeout,
            retries=retries,
        )
        try:
            begin = self._begin(path, offset, answer)
            for chunk in answer.stream(_CHUNK_BYTES, decode_content=False):
                self.received_bytes += len(chunk)
                skipped = min(max(offset - begin, 0), len(chunk))
                begin += len(chunk)
                if skipped < len(chunk):
                    yield chunk[skipped:]
                self._limit.took(len(chunk))
        finally:
            answer.close()

    def _begin(self, path: str, offset: int, answer: Any) -> int:
        """Return the number of the first byte that comes; a server may not know of ranges."""
        status = answer.status
        if status in _ABSENT:
            raise AbsentError(_failed(self.shown, path, f"the server answers {status}"))
        if status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            msg = f"the server has fewer than {offset} bytes of it"
            raise UnreachableError(_failed(self.shown, path, msg))
        if status == HTTPStatus.OK:
            return 0
        given = answer.headers.get("Content-Range", "")
        if status != HTTPStatus.PARTIAL_CONTENT or not given.startswith(f"bytes {offset}-"):
            raise UnreachableError(_failed(self.shown, path, f"the server answers {status}"))
        return offset


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

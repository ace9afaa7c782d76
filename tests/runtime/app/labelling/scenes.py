"""A collection of drawn pictures, and what asks its page."""

from __future__ import annotations

import asyncio
import io
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import numpy as np
from PIL import Image

from snow_runtime.app.http.access import Access
from snow_runtime.app.labelling import Labelling
from snow_runtime.app.labelling.server import labelling_site
from snow_runtime.collection.collection import Collection
from snow_runtime.collection.records import CollectionQuestion, NewPicture

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

KINDS = ("open", "closed", "half")
QUESTION = CollectionQuestion("door", KINDS)
SOURCE = "a" * 64
WIDTH, HEIGHT = 64, 48


def jpeg(kind: int, number: int, width: int = WIDTH, height: int = HEIGHT) -> bytes:
    """Draw a door that stands open as far as its kind says; no two pictures are the same."""
    image = np.full((height, width, 3), 60 + 7 * (number % 20), np.uint8)
    image[:, : (kind + 1) * width // 4] = (200, 120, 40 + 5 * (number % 30))
    image[number % height, -4:] = 255
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "JPEG", comment=f"{kind} {number}".encode())
    return stream.getvalue()


def features(kind: int, number: int, spread: float = 0.05) -> NDArray[np.float16]:
    """Draw pooled features of a kind."""
    rng = np.random.default_rng([kind, number])
    return np.asarray(np.eye(len(KINDS), 8)[kind] + spread * rng.random(8), np.float16)


def new_picture(kind: int, number: int, **given: Any) -> NewPicture:
    given = {
        "camera": "gate",
        "taken_at": 1e9 + number,
        "reason": "random" if number % 5 == 0 else "unsure",
        "features": features(kind, number),
        "source_sha256": SOURCE,
        **given,
    }
    return NewPicture(jpeg(kind, number), **given)


def collection_of(folder: Path, kinds: Iterable[int], **given: Any) -> Collection:
    """Make a collection with a question and pictures of these kinds, with ids 1, 2 and so on."""
    made = Collection.open(folder, create=True)
    made.database._connection.execute("PRAGMA synchronous = OFF")
    made.add_question(QUESTION)
    for number, kind in enumerate(kinds):
        assert made.add(new_picture(kind, number, **given)) == number + 1
    return made


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    data: bytes


class Client:
    """Asks the labelling page without a socket between."""

    def __init__(self, collection: Collection, *given: Any, **named: Any) -> None:
        access = Access("127.0.0.1", None)
        self._site = labelling_site(Labelling(collection, *given, **named), access, 80)

    def ask(self, method: str, path: str, body: bytes = b"", **headers: str) -> Answer:
        """Send a request as an HTTP server does, and give the answer."""
        path, _, query = path.partition("?")
        named = {"host": "localhost", **headers}
        scope = {
            "type": "http",
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "root_path": "",
            "query_string": query.encode(),
            "headers": [(k.replace("_", "-").encode(), v.encode()) for k, v in named.items()],
        }
        sent: list[Any] = []
        asked: list[bool] = []

        async def receive() -> Any:
            if asked:
                await asyncio.Event().wait()  # the client stays
            asked.append(True)
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        asyncio.run(self._site(scope, receive, send))
        start, *parts = sent
        heads = {name.decode().lower(): value.decode() for name, value in start["headers"]}
        return Answer(start["status"], heads, b"".join(part.get("body", b"") for part in parts))

    def status(self, path: str, **headers: str) -> int:
        return self.ask("GET", path, b"", **headers).status

    def get(self, what: str, **given: Any) -> Any:
        """Ask the page's API, and give what it says."""
        answer = self.ask("GET", f"/label/api/{what}?{urlencode(given)}")
        assert answer.status == 200, answer.data
        return json.loads(answer.data)

    def send(self, what: str, body: bytes, kind: str = "application/json") -> int:
        """Send bytes to the page's API, and give the status."""
        return self.ask("POST", f"/label/api/{what}", body, content_type=kind).status

    def post(self, what: str, body: Any) -> tuple[int, Any]:
        """Send JSON to the page's API, and give the status and what it says."""
        text = json.dumps(body).encode()
        answer = self.ask("POST", f"/label/api/{what}", text, content_type="application/json")
        said = answer.data.decode()
        return answer.status, json.loads(said) if answer.status == 200 else said

    def give(
        self,
        label: Any,
        ids: Iterable[int],
        by: str = "Ann",
        seen: Mapping[int, Any] | None = None,
    ) -> Any:
        """Label pictures."""
        choices = [{"label": label, "ids": list(ids)}]
        body = {"question": "door", "by": by, "choices": choices, "seen": seen or {}}
        status, found = self.post("labels", body)
        assert status == 200, found
        return found

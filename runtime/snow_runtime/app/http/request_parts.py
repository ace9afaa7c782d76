"""What requests carry, checked before anything is done with it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from starlette.exceptions import HTTPException

if TYPE_CHECKING:
    from starlette.requests import Request


async def json_object(
    request: Request, most_bytes: int, *, wanted: str = "a JSON object"
) -> dict[str, Any]:
    """Read a JSON object from a request's body.

    Args:
        request: The request.
        most_bytes: Largest body that is taken.
        wanted: What to send, for who sent something else.

    Raises:
        HTTPException: It is none, too long, or of another type: one that forms of other sites can
            send.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise HTTPException(415, "Send application/json.")
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > most_bytes:
            raise HTTPException(413, f"At most {most_bytes} bytes of a body are taken.")
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise HTTPException(400, f"Send {wanted}.")
    return found


def width_of(request: Request, default: int) -> int:
    """Return the width in pixels that a picture is asked for in.

    Raises:
        HTTPException: It is no number.
    """
    width = request.query_params.get("width", str(default))
    if not (width.isascii() and width.isdigit() and len(width) <= 6):
        raise HTTPException(400, "The width is not a number of pixels.")
    return int(width)

"""Names as parts of a topic."""

from __future__ import annotations

import re


def topic_part(name: str, own: str | None = None) -> str:
    """Return a name as one level of a topic: signs that topics give a meaning are `_`.

    Args:
        name: The name.
        own: A level that is taken; a name that is the same gets a `_` behind it.
    """
    found = re.sub(r"[/+#\0]", "_", name)
    return f"{found}_" if name == own else found

"""All boxes at once: what each runs, how it does, and which have not come back."""

from __future__ import annotations

import html
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Final

from snow_deploy.fleet.wave_health import is_ahead, is_late

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from snow_runtime.update.status import BoxStatus

HEADS: Final = ("box", "release", "wanted", "state", "silent", "wrong")
_WELL: Final = frozenset({"settled", "waiting", "downloading", "trying", "watching"})
_STYLE: Final = (
    "body{font-family:sans-serif;margin:2em}td,th{padding:.2em 1em;text-align:left}"
    "tr.wrong{background:#fdd}"
)


@dataclass(frozen=True)
class BoxRow:
    """A box among the others.

    Attributes:
        box: Id of the box.
        release: Name of the release that it runs; None for none.
        wanted: Name of the release that it is to run; None where it may keep what it has.
        state: What it says of itself; `missing` where it has said nothing for too long, `clock`
            where it tells from the future, and `unknown` where it never said anything.
        silent_s: Seconds since it said something; None where nobody knows.
        error: What is wrong, in words; None where nothing is.
        tags: Tags of the box.
        version: Version of snow-deploy on it; None where it does not say.
    """

    box: str
    release: str | None
    wanted: str | None
    state: str
    silent_s: float | None
    error: str | None
    tags: tuple[str, ...] = ()
    version: str | None = None

    @property
    def well(self) -> bool:
        """Whether nothing has to be done about it."""
        return self.state in _WELL

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return {**asdict(self), "well": self.well}


def overview(
    statuses: Sequence[BoxStatus], expected: Collection[str] = (), now: datetime | None = None
) -> list[BoxRow]:
    """Tell how all boxes do, by their ids.

    Args:
        statuses: The newest status of each box.
        expected: Ids of boxes that have to be among them.
        now: The present time; None for the clock's.
    """
    moment = now or datetime.now(timezone.utc)
    rows = [_row(status, moment) for status in statuses]
    silent = {*expected} - {row.box for row in rows}
    rows += [
        BoxRow(box, None, None, "unknown", None, "it has never told anything") for box in silent
    ]
    return sorted(rows, key=lambda row: row.box)


def table_rows(rows: Sequence[BoxRow]) -> list[tuple[str, ...]]:
    """Return the cells of a table, its head first."""
    return [
        HEADS,
        *(
            (
                row.box,
                row.release or "-",
                row.wanted or "-",
                row.state,
                "-" if row.silent_s is None else _duration(row.silent_s),
                row.error or "",
            )
            for row in rows
        ),
    ]


def page(rows: Sequence[BoxRow], now: datetime | None = None) -> str:
    """Write the table as a page that stands by itself: no script, nothing from elsewhere."""
    written = (now or datetime.now(timezone.utc)).strftime("%Y-%m-%d %H:%M:%S UTC")
    head, *cells = table_rows(rows)
    lines = [_line("th", head, "")]
    lines += [
        _line("td", each, "" if row.well else ' class="wrong"')
        for row, each in zip(rows, cells, strict=True)
    ]
    well = sum(row.well for row in rows)
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Boxes</title>'
        f"<style>{_STYLE}</style><h1>{well} of {len(rows)} boxes do well</h1>"
        f"<p>{written}</p><table>\n" + "\n".join(lines) + "\n</table></html>\n"
    )


def _line(cell: str, texts: Sequence[str], attribute: str) -> str:
    cells = "".join(f"<{cell}>{html.escape(text)}</{cell}>" for text in texts)
    return f"<tr{attribute}>{cells}</tr>"


def _row(status: BoxStatus, now: datetime) -> BoxRow:
    late = is_late(status, now)
    silent_s = max(0.0, (now - status.moment).total_seconds())
    state, error = status.state, status.error
    if is_ahead(status, now):
        last = f"its clock is ahead, at {status.written}; it says it is {state}"
        return _made(status, "clock", None, last + (f": {error}" if error else ""))
    if late and state != "ended":
        last = f"it was {state} when it last told" + (f": {error}" if error else "")
        return _made(status, "missing", silent_s, last)
    return _made(status, state, silent_s, error)


def _made(status: BoxStatus, state: str, silent_s: float | None, error: str | None) -> BoxRow:
    return BoxRow(
        status.box,
        status.release,
        status.wanted,
        state,
        None if silent_s is None else round(silent_s, 1),
        error,
        status.tags,
        status.version,
    )


def _duration(seconds: float) -> str:
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"

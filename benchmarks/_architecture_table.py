"""The page that `benchmarks.architectures` writes of its rows."""

from __future__ import annotations

import platform
from datetime import datetime, timezone
from importlib.metadata import distributions, version
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SAMPLES: Final = 16
"""Random pictures that norms are settled on, and ranges of INT8 made of."""
LEAST_SHARE: Final = 0.0
"""Share of an engine's convolutions that has to be in the precision asked for."""
_HEAD: Final = """# Architectures

Measured on {day} on {machine} with {versions}.

```sh
python -m benchmarks.architectures --page
```

{count} networks of torchvision and timm, small members of their families, with random weights and
small pictures. Each takes one step of each kind. What is looked at is whether a step works, not how
accurate anything is. The norms' statistics are those of {samples} random pictures. An engine is
built whatever it computes in (`least_share={least_share:g}`): the last columns tell how much that
is. `benchmarks/architectures.py` writes this page.

| column | what it tells |
|---|---|
| reads | tensors that a delta subscribes to; tensors that a readout reads |
| trains | two deltas of 1/8 of the width took a step, and every weight got a gradient |
| six tasks | multiply-adds of the source and six such deltas, over those of the source alone |
| agrees | largest difference from torch's answers, over the largest; whether the deltas fused |
| INT8 | share of multiply-adds, ranges of {samples} random pictures; findings of the form's check |
| engines | TensorRT-RTX for SM86: convolutions in fp16, of the INT8 graph in INT8, of all |

{draft}**{green} of {count} go the whole way.** {refused} are refused for their attention, as they
have to be. {red}

| family | network | px | reads | trains | six tasks | agrees | INT8, findings | fp16 engine | \
INT8 engine |
|---|---|---|---|---|---|---|---|---|---|
"""
_DRAFT: Final = """\
**This page is a draft.** {left} of the {whole} networks on the list have no line yet; they are
named at the end. What is counted here is no count of how many of the list work.

"""


def write_page(rows: Sequence[Mapping[str, Any]], left: Sequence[str] = ()) -> str:
    """Return the page of some rows, in Markdown; `left` names networks without one."""
    refused = [row for row in rows if _is_refused(row)]
    red = [row for row in rows if row["failed"] and not _is_refused(row)]
    told = "No other step failed."
    if red:
        told = f"{len(red)} end before, as their lines say."
    page = _HEAD.format(
        day=f"{datetime.now(tz=timezone.utc):%-d %B %Y}",
        machine=f"a CPU ({platform.machine()}), without a GPU",
        versions=", ".join(_versions()),
        count=len(rows),
        green=len(rows) - len(refused) - len(red),
        refused=len(refused),
        red=told,
        samples=SAMPLES,
        least_share=LEAST_SHARE,
        draft=_DRAFT.format(left=len(left), whole=len(left) + len(rows)) if left else "",
    )
    page += "".join(f"{_line(row)}\n" for row in rows)
    notes = [note for row in rows if (note := _note(row))]
    if left:
        notes.append(f"Not walked yet by this version: {', '.join(f'`{name}`' for name in left)}.")
    return page + ("\n" + "".join(f"- {note}\n" for note in notes) if notes else "")


def _is_refused(row: Mapping[str, Any]) -> bool:
    return row["failed"] == "reads" and "attention" in row["why"]


def _line(row: Mapping[str, Any]) -> str:
    cells = [
        row["family"],
        row["architecture"],
        row["image_size"],
        "" if row["subscriptions"] is None else f"{row['subscriptions']}; {row['taps']}",
        "yes" if row["trained"] else "",
        "" if row["macs"] is None else f"{row['macs']:.2f}",
        "" if row["error"] is None else f"{row['error']:.0e}, {row['layout']}",
        "" if row["findings"] is None else f"{row['int8_share']:.2%}, {row['findings']}",
        _counted(row["fp16"]),
        _counted(row["int8"]),
    ]
    if row["failed"]:
        first = next((place for place, cell in enumerate(cells) if cell == ""), len(cells) - 1)
        cells[first] = "**refused**" if _is_refused(row) else f"**no** ({row['failed']})"
    return f"| {' | '.join(map(str, cells))} |"


def _counted(found: Sequence[int]) -> str:
    return f"{found[0]} of {found[1]}" if found else ""


def _note(row: Mapping[str, Any]) -> str:
    if row["failed"]:
        return f"`{row['architecture']}`: {row['why']}"
    if row["rest"] == "fp32":
        return (
            f"`{row['architecture']}`: these random weights' activations overflow fp16, so what is "
            "not INT8 stays in fp32."
        )
    return ""


def _versions() -> list[str]:
    installed = {each.name for each in distributions()}
    names = ("torch", "torchvision", "timm", "onnxruntime", "tensorrt-rtx-cu13-libs")
    return [f"{name} {version(name)}" for name in names if name in installed]

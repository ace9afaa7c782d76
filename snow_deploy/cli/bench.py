"""`snow-deploy bench`: how fast graphs and engines answer here, and what they take."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from snow_deploy.cli.options import AT_LEAST_ONE, FILE, PATH, THREADS, FiniteRange, json_option
from snow_deploy.cli.progress import progress_bar
from snow_deploy.cli.tables import columns, megabytes

if TYPE_CHECKING:
    from collections.abc import Iterator

_EXIT_INTERRUPTED = 130  # 128 + SIGINT, as shells have it
_NOTHING = "-"


def _size_of(_context: click.Context, _parameter: click.Parameter, value: str) -> tuple[int, int]:
    found = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", value.strip().lower())
    if found is None:
        msg = f"{value!r} is no width and height in pixels, such as 1280x720."
        raise click.BadParameter(msg)
    return int(found[1]), int(found[2])


@click.command("bench")
@click.argument("model", type=PATH)
@click.option(
    "--against",
    "others",
    metavar="OTHER",
    multiple=True,
    type=PATH,
    help="Another graph or engine, compared with MODEL in the same run; may be repeated.",
)
@click.option("--batch", type=AT_LEAST_ONE, default=1, help="Pictures of one call.")
@click.option(
    "--threads",
    type=THREADS,
    help="CPU threads of ONNX Runtime; engines take none.  [default: its own]",
)
@click.option(
    "--duration",
    metavar="SECONDS",
    type=FiniteRange(min=0, min_open=True),
    help="Timed calls of each contender, all its turns together.  [default: 10]",
)
@click.option("--quick", is_flag=True, help="A duration of 1 s, and one start instead of three.")
@click.option(
    "--camera-size",
    "camera",
    metavar="WxH",
    callback=_size_of,
    default="1280x720",
    help="Size of the frames, which are random.",
)
@click.option(
    "--colour",
    type=click.Choice(["rgb", "bgr"]),
    default="bgr",
    help="Order of the frames' channels; cameras give bgr.",
)
@click.option(
    "--keep",
    type=FILE,
    help="Copy the contender with the least median latency to this file: .onnx for a graph, "
    ".engine for an engine, and among both that of the fastest.",
)
@json_option
@click.pass_context
def command(
    context: click.Context,
    /,
    model: Path,
    others: tuple[Path, ...],
    duration: float | None,
    keep: Path | None,
    *,
    quick: bool,
    as_json: bool,
    **measured: Any,
) -> None:
    """Measure how fast MODEL, a graph or an engine, answers here.

    Latency from a camera's frame to the answer, split into its stages; pictures a second; start-up
    time and memory, each in a process of its own. Contenders take turns, so that drift hits all
    alike. Ctrl-C prints what was measured so far.
    """
    from snow_runtime.bench.fastest import check_keep
    from snow_runtime.bench.options import (
        DURATION_S,
        QUICK_DURATION_S,
        QUICK_STARTS,
        STARTS,
        BenchOptions,
    )
    from snow_runtime.bench.run import bench

    if quick and duration is not None:
        msg = "--quick and --duration contradict each other: --quick is a duration of its own."
        raise click.UsageError(msg)
    options = BenchOptions(
        models=(model, *others),
        duration_s=duration or (QUICK_DURATION_S if quick else DURATION_S),
        starts=QUICK_STARTS if quick else STARTS,
        **measured,
    )
    if keep is not None:
        check_keep(keep, options.models)
    with progress_bar("bench") as progress:
        document = bench(options, progress).to_dict()
    if as_json:
        click.echo(json.dumps(document, indent=2, allow_nan=False))
    else:
        for line in _lines(document):
            click.echo(line)
    if document["interrupted"]:
        click.echo("interrupted: this is what was measured so far", err=True)
        context.exit(_EXIT_INTERRUPTED)
    if keep is not None:
        _keep(document, keep)


def _keep(document: dict[str, Any], output: Path) -> None:
    from snow_runtime.bench.fastest import keep, kept_as, medians_ms

    best = next(iter(medians_ms(document)))
    path = next(Path(it["path"]) for it in document["contenders"] if it["name"] == best)
    kept = kept_as(output, path)
    keep(path, kept)
    why = "" if kept == output else f" and not {output.name}, by what it is"
    click.echo(f"fastest: {best}, kept as {kept}{why}", err=True)


def _lines(document: dict[str, Any]) -> Iterator[str]:
    contenders = document["contenders"]
    yield from columns([_TIMES, *(row for it in contenders for row in _time_rows(it))], left=2)
    yield ""
    yield from columns([_TAKES, *map(_take_row, contenders)])
    yield ""
    for pair in document["ratios"]:
        latency, inference = (_ratio(pair[what]) for what in ("latency", "inference"))
        yield f"{pair['name']} over {pair['to']}: latency {latency}, inference {inference}"
    yield _how(document)
    yield _where(document)
    for note in document["notes"]:
        yield f"note: {note}"


_TIMES = ("contender", "milliseconds", "p50", "p90", "p99", "mean", "pictures/s", "calls")
_TAKES = ("contender", "file", "load s", "first s", "start s", "before", "loaded", "peak")


def _time_rows(contender: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    total = (_number(contender["frames_per_s"], 1), str(contender["calls"]))
    yield (contender["name"], "latency", *_times(contender["latency"]), *total)
    for stage, summary in contender["stages"].items() if contender["calls"] else ():
        yield ("", f"  {stage}", *_times(summary), "", "")


def _times(summary: dict[str, float] | None) -> tuple[str, ...]:
    keys = ("p50_ms", "p90_ms", "p99_ms", "mean_ms")
    return tuple(_NOTHING if summary is None else _number(summary[key], 2) for key in keys)


def _take_row(contender: dict[str, Any]) -> tuple[str, ...]:
    start = contender["start_up"] or {}
    seconds = (_number(start.get(key), 2) for key in ("load_s", "first_answer_s", "total_s"))
    before = _size(start.get("before_bytes"))
    over = (_size(start.get(f"{key}_over_before_bytes"), "+") for key in ("loaded", "peak"))
    return (contender["name"], _size(contender["file_bytes"]), *seconds, before, *over)


def _ratio(ratio: dict[str, Any]) -> str:
    if ratio["low"] is None:
        return f"{ratio['value']:.3f}"
    return (
        f"{ratio['value']:.3f} ({ratio['low']:.3f} to {ratio['high']:.3f} with "
        f"{ratio['confidence']:.0%} confidence)"
    )


def _how(document: dict[str, Any]) -> str:
    options = document["options"]
    camera, batch, threads = options["camera"], options["batch"], options["threads"]
    rounds = f", {document['rounds']} rounds" if document["rounds"] else ""
    return (
        f"batch {batch}, frames {camera['width']}x{camera['height']} {camera['colour']}, "
        f"{'default' if threads is None else threads} threads, {options['duration_s']:g} s of "
        f"calls each{rounds}; sizes after loading and at the peak are over those before"
    )


def _where(document: dict[str, Any]) -> str:
    machine, versions = document["machine"], document["versions"]
    gpus = ", ".join(gpu["name"] for gpu in machine.get("gpus", ())) or "no GPU"
    jetson = machine.get("jetson") or {}
    mode = f", power mode {jetson['power_mode']}" if jetson.get("power_mode") else ""
    listed = ", ".join(f"{name} {version}" for name, version in versions.items())
    return (
        f"on {machine.get('usable_cores') or '?'} cores of {machine.get('processor') or '?'}, "
        f"governor {machine.get('governor') or '?'}, {gpus}{mode}; {listed}"
    )


def _number(value: float | None, digits: int) -> str:
    return _NOTHING if value is None else f"{value:.{digits}f}"


def _size(size_bytes: float | None, sign: str = "") -> str:
    return _NOTHING if size_bytes is None else f"{sign}{megabytes(round(size_bytes))}"

"""`snow-deploy build-engine`: a graph compiled by TensorRT or TensorRT-RTX."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from snow_deploy.cli.options import AT_LEAST_ONE, FILE, PATH, FiniteRange, json_option
from snow_deploy.cli.progress import progress_bar
from snow_deploy.cli.tables import megabytes
from snow_runtime.engine.options import LEAST_SHARE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from snow_runtime.engine.make import BuiltEngine
    from snow_runtime.engine.options import BuildOptions
    from snow_runtime.graph.manifest import Precision


def _targets_of(
    _context: click.Context, _parameter: click.Parameter, value: str | None
) -> tuple[str, ...]:
    names = tuple(name.strip().lower() for name in (value or "").split(",") if name.strip())
    if value and not names:
        msg = "--target names no GPU. Give some, such as sm86,sm89, or leave it out."
        raise click.UsageError(msg)
    return names


def _bytes_of(
    _context: click.Context, _parameter: click.Parameter, mebibytes: int | None
) -> int | None:
    return None if mebibytes is None else mebibytes << 20


@click.command("build-engine")
@click.argument("graph", type=PATH, default="snow.onnx")
@click.option("--fp16", is_flag=True, help="Half precision, made from fp32.")
@click.option("--int8", is_flag=True, help="INT8; GRAPH is a calibrated one.")
@click.option(
    "--fp32", is_flag=True, help="Single precision, without TF32.  [default: what GRAPH is]"
)
@click.option(
    "--against",
    "others",
    metavar="OTHER",
    multiple=True,
    type=PATH,
    help="The same tasks in another layout: built too, timed on the GPU here, the fastest is kept.",
)
@click.option(
    "--backend",
    type=click.Choice(["auto", "tensorrt", "tensorrt-rtx"]),
    default="auto",
    help="auto: TensorRT where it and a GPU are here, otherwise TensorRT-RTX.",
)
@click.option(
    "--target",
    "targets",
    metavar="SM[,SM…]",
    callback=_targets_of,
    help="GPUs that need not be here, such as sm86,sm89; TensorRT-RTX only.  "
    "[default: the GPU here, or sm80,sm86,sm89,sm120]",
)
@click.option("--min-batch", type=AT_LEAST_ONE, help="Fewest pictures a run.  [default: 1]")
@click.option("--opt-batch", type=AT_LEAST_ONE, help="Pictures to tune for.  [default: the most]")
@click.option("--max-batch", type=AT_LEAST_ONE, help="Most pictures a run.  [default: the fewest]")
@click.option(
    "--workspace",
    "workspace_bytes",
    metavar="MiB",
    callback=_bytes_of,
    type=click.IntRange(1, 1 << 30),
    help="Memory for intermediate values; never more than there is.",
)
@click.option(
    "--optimization-level",
    type=click.IntRange(0, 5),
    help="How long to search for fast kernels.  [default: TensorRT's own, 3]",
)
@click.option(
    "--timing-cache",
    type=FILE,
    help="What earlier builds have learnt; TensorRT only.  [default: one per TensorRT and GPU]",
)
@click.option("--hardware-compatible", is_flag=True, help="For every GPU from Ampere on.")
@click.option("--version-compatible", is_flag=True, help="For later TensorRT versions too.")
@click.option("--strip-weights", is_flag=True, help="Leave the weights in GRAPH; loading needs it.")
@click.option("--dla", metavar="N", type=click.IntRange(min=0), help="Run on this DLA core.")
@click.option(
    "--least-share",
    type=FiniteRange(0, 1),
    default=LEAST_SHARE,
    help="Share of the convolutions that has to run in the precision asked for.",
)
@click.option(
    "--cache-limit",
    "cache_bytes",
    metavar="MiB",
    callback=_bytes_of,
    type=AT_LEAST_ONE,
    default=2048,
    help="What the engine cache may take; the engines used least recently go first.",
)
@click.option("--no-cache", is_flag=True, help="Build anew, and keep no copy.")
@click.option(
    "-o", "--output", type=PATH, help="The plan to write.  [default: GRAPH's name with .engine]"
)
@json_option
def command(  # noqa: PLR0917 - an argument for each option
    graph: Path,
    output: Path | None,
    others: tuple[Path, ...],
    backend: str,
    timing_cache: Path | None,
    cache_bytes: int,
    *,
    no_cache: bool,
    as_json: bool,
    **asked: Any,
) -> None:
    """Build an engine from GRAPH, an ONNX file of `export` or `calibrate`.

    The graph is compiled as it is typed, and what its convolutions really run in is read from the
    compiled layers: an engine that is not what was asked for is not written. The plan is a plain
    one; OUTPUT.json beside it says what it is and where it runs. Without GRAPH it is snow.onnx.
    """
    from snow_runtime.bench.fastest import build_fastest
    from snow_runtime.engine.cache import EngineCache, default_folder
    from snow_runtime.engine.make import build_engine

    engine = output or graph.with_suffix(".engine")
    folder = None if no_cache else default_folder()
    cache = None if folder is None else EngineCache(folder / "engines", cache_bytes)
    how: Any = {"backend_name": backend, "cache": cache, "timing_cache": timing_cache}
    options = _options(**asked)
    times: dict[str, float] = {}
    if others:
        built, times = build_fastest((graph, *others), engine, options, **how)
    else:
        with progress_bar("building") as progress:
            built = build_engine(graph, engine, options, **how, progress=progress)
    for notice in built.notices:
        click.echo(f"note: {notice}", err=True)
    if as_json:
        click.echo(json.dumps({**_document(built), "median_ms": times}, indent=2))
    else:
        for path, time_ms in times.items():
            click.echo(f"{path}  {time_ms:.2f} ms")
        for line in _lines(engine, built):
            click.echo(line)


def _options(*, fp16: bool, int8: bool, fp32: bool, **others: Any) -> BuildOptions:
    """Return what the command's other options, which are the fields', and its switches ask for."""
    from snow_runtime.engine.options import BuildOptions

    switches: dict[Precision, bool] = {"fp16": fp16, "int8": int8, "fp32": fp32}
    asked = [name for name, given in switches.items() if given]
    if len(asked) > 1:
        msg = f"--{' and --'.join(asked)} contradict each other: an engine has one precision."
        raise click.UsageError(msg)
    return BuildOptions(precision=asked[0] if asked else None, **others)


def _lines(engine: Path, built: BuiltEngine) -> Iterator[str]:
    record = built.record
    found = record.achieved
    where = ", ".join(record.options.targets) or str(record.host)
    least, best, most = record.options.batches
    batch = f"batch {best}" if least == most else f"batch {least} to {most}, tuned for {best}"
    taken = "taken from the cache" if built.cached else f"built in {record.build_s:.1f} s"
    yield f"{engine}  {megabytes(record.plan_bytes)}, {record.title} for {where}, {batch}, {taken}"
    kept = sum(found.by_precision.values()) - found.convolutions
    beside = f", {kept} kept in floating point by the graph" if kept else ""
    yield (
        f"{found.precision}: {found.in_precision} of {found.convolutions} convolutions{beside}; "
        f"{record.compute_layers} compute layers"
    )


def _document(built: BuiltEngine) -> dict[str, Any]:
    record = json.loads(built.record.to_json())
    del record["manifest"]  # it is in the record beside the plan
    share = built.record.achieved.share
    return {**record, "share": share, "cached": built.cached, "notices": list(built.notices)}

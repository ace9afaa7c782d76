"""`snow-deploy build-engine`: a graph compiled by TensorRT or TensorRT-RTX."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from snow_deploy.cli.options import FiniteRange
from snow_deploy.cli.progress import progress_bar
from snow_deploy.cli.tables import megabytes
from snow_runtime.engine.options import LEAST_SHARE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from snow_runtime.engine.cache import EngineCache
    from snow_runtime.engine.make import BuiltEngine
    from snow_runtime.engine.options import BuildOptions

_MIB = 1 << 20


@click.command("build-engine")
@click.argument("graph", type=click.Path(path_type=Path), default="snow.onnx")
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
    type=click.Path(path_type=Path),
    help="The same tasks in another layout: built too, timed on the GPU here, the fastest is kept.",
)
@click.option(
    "--backend",
    type=click.Choice(["auto", "tensorrt", "tensorrt-rtx"]),
    default="auto",
    show_default=True,
    help="auto: TensorRT where it and a GPU are here, otherwise TensorRT-RTX.",
)
@click.option(
    "--target",
    "targets",
    metavar="SM[,SM…]",
    help="GPUs that need not be here, such as sm86,sm89; TensorRT-RTX only.  "
    "[default: the GPU here, or sm80,sm86,sm89,sm120]",
)
@click.option(
    "--min-batch", type=click.IntRange(min=1), help="Fewest pictures a run.  [default: 1]"
)
@click.option(
    "--opt-batch", type=click.IntRange(min=1), help="Pictures to tune for.  [default: the most]"
)
@click.option(
    "--max-batch", type=click.IntRange(min=1), help="Most pictures a run.  [default: the fewest]"
)
@click.option(
    "--workspace",
    "workspace_mib",
    metavar="MiB",
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
    type=click.Path(path_type=Path, dir_okay=False),
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
    show_default=True,
    help="Share of the convolutions that has to run in the precision asked for.",
)
@click.option(
    "--cache-limit",
    metavar="MiB",
    type=click.IntRange(min=1),
    default=2048,
    show_default=True,
    help="What the engine cache may take; the engines used least recently go first.",
)
@click.option("--no-cache", is_flag=True, help="Build anew, and keep no copy.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="The plan to write.  [default: GRAPH's name with .engine]",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(graph: Path, output: Path | None, *, as_json: bool, **form: Any) -> None:
    """Build an engine from GRAPH, an ONNX file of `export` or `calibrate`.

    The graph is compiled as it is typed, and what its convolutions really run in is read from the
    compiled layers: an engine that is not what was asked for is not written. The plan is a plain
    one; OUTPUT.json beside it says what it is and where it runs.
    """
    from snow_runtime.bench.fastest import build_fastest
    from snow_runtime.engine.make import build_engine

    engine = output or graph.with_suffix(".engine")
    how = {
        "backend_name": form["backend"],
        "cache": _cache(form),
        "timing_cache": form["timing_cache"],
    }
    options = _options(form)
    times: dict[str, float] = {}
    if form["others"]:
        built, times = build_fastest((graph, *form["others"]), engine, options, **how)
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


def _options(form: dict[str, Any]) -> BuildOptions:
    from snow_runtime.engine.options import BuildOptions

    asked = [name for name in ("fp16", "int8", "fp32") if form[name]]
    if len(asked) > 1:
        msg = f"--{' and --'.join(asked)} contradict each other: an engine has one precision."
        raise click.UsageError(msg)
    names = form["targets"].split(",") if form["targets"] else ()
    if form["targets"] and not any(name.strip() for name in names):
        msg = "--target names no GPU. Give some, such as sm86,sm89, or leave it out."
        raise click.UsageError(msg)
    workspace = form["workspace_mib"]
    same = (
        "min_batch",
        "opt_batch",
        "max_batch",
        "optimization_level",
        "hardware_compatible",
        "version_compatible",
        "strip_weights",
        "dla",
        "least_share",
    )
    return BuildOptions(
        precision=asked[0] if asked else None,  # type: ignore[arg-type]
        targets=tuple(name.strip().lower() for name in names if name.strip()),
        workspace_bytes=None if workspace is None else workspace * _MIB,
        **{name: form[name] for name in same},
    )


def _cache(form: dict[str, Any]) -> EngineCache | None:
    from snow_runtime.engine.cache import EngineCache, default_folder

    folder = default_folder()
    if form["no_cache"] or folder is None:
        return None
    return EngineCache(folder / "engines", form["cache_limit"] * _MIB)


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

"""`snow-deploy score`: what a model says of an archive of pictures, as Parquet; without torch."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from snow_deploy.cli.options import (
    AT_LEAST_ONE,
    THREADS,
    FiniteRange,
    ModelPlace,
    json_option,
    readout_files,
    readout_option,
    refuse_threads_of_engine,
)
from snow_deploy.cli.score_progress import ScoreProgress

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from snow_runtime.score.run import ScoreOutcome, Workers
    from snow_runtime.score.shard_worker import Setup

_EXIT_INCOMPLETE = 1
_EXIT_ERRORS = 3


class ActorRange(click.ParamType[Any]):
    """Fewest and most actors, as `2` or `2:8`."""

    name = "MIN:MAX"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        """Read it; an error of usage says what is wrong."""
        if isinstance(value, tuple):
            return value
        fewest, colon, most = str(value).partition(":")
        try:
            found = int(fewest), int(most if colon else fewest)
        except ValueError:
            found = (0, 0)
        if not 1 <= found[0] <= found[1]:
            self.fail(f"{value!r} is no range of actors, expected such as 2 or 2:8.", param, ctx)
        return found


@dataclass(frozen=True)
class ScoreForm:
    """What `score` was asked for; each as in the command's help."""

    inputs: tuple[str, ...]
    output: str
    readouts: tuple[Path, ...]
    features: bool
    column: str | None
    id_column: str | None
    processes: int | None
    threads: int | None
    batch: int
    shard_rows: int
    retry: bool
    address: str | None
    actors: tuple[int, int] | None
    actor_gpus: float
    as_json: bool

    def workers(self, model: Path) -> Callable[[Setup], Workers]:
        """Give what makes the processes or actors.

        Raises:
            click.UsageError: An option of one is given for the other.
        """
        if self.address is None:
            if self.actors is not None or self.actor_gpus:
                msg = "--actors and --actor-gpus are for --ray; locally it is --processes."
                raise click.UsageError(msg)
            return _processes(model, self.processes)
        if self.processes is not None:
            msg = "--processes is for this machine; with --ray it is --actors."
            raise click.UsageError(msg)
        return _ray_workers(self.address, self.actors, self.actor_gpus)


@click.command("score")
@click.argument("model", type=ModelPlace())
@click.option(
    "--input",
    "inputs",
    metavar="URI",
    multiple=True,
    required=True,
    help="A folder, picture, tar (WebDataset) or Parquet file, or a pattern of them, on the disk, "
    "s3:// or gs://; once for each.",
)
@click.option(
    "--output", metavar="URI", required=True, help="Folder of the Parquet files to write."
)
@readout_option
@click.option("--features", is_flag=True, help="Also write the source's pooled features, float16.")
@click.option("--column", metavar="NAME", help="Parquet column of the bytes or paths of pictures.")
@click.option("--id-column", metavar="NAME", help="Parquet column that names the pictures.")
@click.option(
    "--processes", type=AT_LEAST_ONE, help="Processes, each with a model.  [default: a core each]"
)
@click.option("--threads", type=THREADS, help="CPU threads of each process.  [default: 1]")
@click.option(
    "--batch",
    type=AT_LEAST_ONE,
    default=1,
    help="Pictures computed together. 1 answers bit for bit as `predict` does; more is faster on "
    "GPUs, and may round the last bits otherwise.",
)
@click.option(
    "--shard-rows",
    type=AT_LEAST_ONE,
    default=2048,
    help="Most pictures of an output file, where they are not in a tar; the first have fewer.",
)
@click.option("--retry", is_flag=True, help="Also do again what has rows with errors in it.")
@click.option(
    "--ray",
    "address",
    metavar="ADDRESS|local",
    help="Spread the work by Ray: over the cluster at this address, or over a Ray started here.",
)
@click.option(
    "--actors",
    type=ActorRange(),
    help="With --ray, how many replicas of the model.  [default: 1:cores]",
)
@click.option(
    "--actor-gpus",
    type=FiniteRange(min=0),
    default=0.0,
    help="With --ray, GPUs of each replica; 0 computes on CPUs.",
)
@json_option
def command(model: Path | str, **given: Any) -> None:
    """Score pictures by MODEL, a graph or engine, into Parquet files.

    Each picture is a row: its id, for each task the label and its probability, and an error where
    it could not be read. The same command goes on where an interrupted one ended. Exit codes: 0
    every picture was answered, 3 some rows have errors, 1 a part is missing.
    """
    from snow_runtime.score.options import JobFiles, ScoreOptions
    from snow_runtime.score.run import JobNews, score

    if isinstance(model, str):
        msg = "score computes where its processes are: MODEL is a file, not a model on a server."
        raise click.UsageError(msg)
    form = ScoreForm(**given)
    refuse_threads_of_engine(model, form.threads)
    workers = form.workers(model)
    files = JobFiles(
        model.absolute(),
        tuple(path.absolute() for path in readout_files(form.readouts)),
        form.output,
        form.threads or 1,
    )
    options = ScoreOptions(
        form.inputs, form.features, form.batch, form.shard_rows, form.column, form.id_column
    )
    with ScoreProgress() as shown:
        outcome = score(
            files, options, workers, JobNews(shown.update, shown.line), retry=form.retry
        )
    _report(outcome, form.output, as_json=form.as_json)
    if outcome.given_up:
        click.get_current_context().exit(_EXIT_INCOMPLETE)
    if outcome.failed:
        click.get_current_context().exit(_EXIT_ERRORS)


def _processes(model: Path, processes: int | None) -> Callable[[Setup], Workers]:
    from snow_runtime.model import is_engine
    from snow_runtime.score.pool import ProcessPool

    count = processes or (1 if is_engine(model) else _cores())
    return lambda setup: ProcessPool(setup, count)


def _ray_workers(
    address: str, actors: tuple[int, int] | None, gpus: float
) -> Callable[[Setup], Workers]:
    from snow_runtime.score.on_ray import RayActors, begin_ray
    from snow_runtime.score.options import RayOptions

    options = RayOptions(address, actors or (1, _cores()), gpus)

    def started(setup: Setup) -> Workers:
        begin_ray(address)
        return RayActors(setup, options)

    return started


def _cores() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on this system
        return os.cpu_count() or 1


def _report(outcome: ScoreOutcome, output: str, *, as_json: bool) -> None:
    for remark in outcome.remarks:
        click.echo(f"warning: {remark}", err=True)
    for example in outcome.examples:
        click.echo(f"error: {example}", err=True)
    if as_json:
        click.echo(json.dumps(_document(outcome, output), indent=2))
        return
    failed = sum(outcome.failed.values())
    kinds = ", ".join(f"{kind} {count:,}" for kind, count in sorted(outcome.failed.items()))
    errors = f", {failed:,} with an error ({kinds})" if failed else ""
    before = outcome.rows - outcome.scored
    there = f" ({before:,} were there already)" if before else ""
    click.echo(f"{outcome.rows:,} pictures{there}{errors}")
    rate = f", {outcome.per_second:,.1f} images/s" if outcome.per_second else ""
    click.echo(f"{output}  {outcome.parts} of {outcome.shards} parts{rate}")
    if outcome.given_up:
        click.echo(
            f"{len(outcome.given_up)} of {outcome.shards} shards were given up; mend what is said "
            "above and run the same command again: it does only those."
        )


def _document(outcome: ScoreOutcome, output: str) -> dict[str, object]:
    return {
        "output": output,
        "rows": outcome.rows,
        "scored": outcome.scored,
        "errors": dict(outcome.failed),
        "shards": outcome.shards,
        "parts": outcome.parts,
        "given_up": list(outcome.given_up.values()),
        "processes_ended": outcome.deaths,
        "images_per_s": outcome.per_second,
    }

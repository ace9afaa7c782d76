"""`snow-deploy train`: tasks from a data set into a store."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from snow_deploy.cli.delta_options import delta_options
from snow_deploy.cli.image_size import ImageSizeParam
from snow_deploy.cli.options import store_option
from snow_deploy.cli.source_options import is_first_process, read_choice, say_note, source_options
from snow_deploy.cli.sweep import combinations, swept
from snow_deploy.cli.train_form import TrainForm, refuse_unread
from snow_deploy.cli.train_report import announce, report

if TYPE_CHECKING:
    from collections.abc import Sequence

    from snow_deploy.training.outcome import TrainingOutcome
    from snow_deploy.training.run import RunSettings
    from snow_deploy.training.store import Store
    from snow_deploy.training.task_requests import TaskRequest


@click.command("train")
@click.option(
    "--task",
    "tasks",
    required=True,
    multiple=True,
    help="Name of the task: a-z, 0-9, _ and -. Give --task and --data again for further tasks "
    "that label the same pictures: they share the source's pass.",
)
@click.option(
    "--data",
    "listed",
    required=True,
    multiple=True,
    metavar="KIND:PATH",
    help="imagefolder:PATH, food101:ROOT, dtd:ROOT, stanfordcars:ROOT, cub200:PATH, "
    "stanford40:PATH, webdataset:PATTERN (tars), csv:FILE?label=COLUMN, "
    "collected:FILE?question=NAME (of `collect pull`), or "
    "demo:shape|colour|digit|texture|pattern. With any number of labels a picture: "
    "csv:FILE?labels=COLUMN,COLUMN (1 or 0 in each), or "
    "csv:FILE?label=COLUMN&separator=; (several in a cell).",
)
@click.option("--download", is_flag=True, help="Let torchvision download the data set.")
@store_option
@source_options
@click.option(
    "--source-labels",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="Text file with the source's own labels, one a line.",
)
@click.option(
    "--scheme",
    type=click.Choice(["snow", "readout", "auto", "fo", "fe", "ft", "mp", "pn", "lf"]),
    default="snow",
    help="The task's network. snow: a delta. readout: a linear classifier on pooled features of "
    "all the source's blocks, fitted in seconds. auto: a readout, or a delta where a trial on "
    "held-out training pictures shows that it gains beyond chance (--delta). What the "
    "paper compares it with: fo, a new classifier on the source; fe, a thin fourth stage on the "
    "source's third; ft, a whole network, fine-tuned; mp, the source with scales of its own; pn, a "
    "column beside the source with adapters; lf, one network for several tasks, learned one after "
    "the other (--after).",
)
@click.option(
    "--delta",
    type=click.Choice(["auto", "never", "always"]),
    default="auto",
    help="With --scheme auto: train a delta where it gains beyond chance; never, and say only what "
    "it could bring and costs; or always, without a trial.",
)
@click.option(
    "--after",
    metavar="TASK",
    help="With --scheme lf, go on from this task's network and keep what it answers.  "
    "[default: begin with the source]",
)
@delta_options
@click.option(
    "--sweep",
    "sweeps",
    multiple=True,
    metavar="OPTION=VALUE,VALUE",
    help="Train a task for each value, on one pass of the source: scheme, subscription, k, width, "
    "sigma2, pooling-norm, pooling-weights, pooling-order, blocks, from-stage, classifier-reads, "
    "lr or recipe. Several sweeps give every combination. A task is called NAME-k4-sigma2_1e-3 and "
    "so on; one that is in the store already is skipped.",
)
@click.option(
    "--views",
    type=int,
    help="Of a readout, or with --classifier-reads taps: how often each training picture is looked "
    "at, its centre and then crops and flips.  [default: 2; 1 where crops would change what a "
    "picture shows]",
)
@click.option(
    "--features",
    type=int,
    help="Of a readout, or with --classifier-reads taps: how many features to read.  [default: the "
    "fewest that cross-validation finds as good as any]",
)
@click.option(
    "--class-weights",
    type=click.Choice(["equal", "balanced"]),
    default="equal",
    help="Of a readout: every picture counts the same, or every class does, however many pictures "
    "it has.",
)
@click.option("--epochs", default=90, help="Passes over the training pictures.")
@click.option(
    "--batch-size",
    type=int,
    help="Pictures a step and device.  [default: 256; with --recipe paper what the paper prints "
    "for the scheme: ft and lf 128, mp and pn 96]",
)
@click.option(
    "--lr",
    type=float,
    help="Learning rate at this batch size.  [default: the recipe's; the paper's is 1.0 at a batch "
    "of 256 for snow, 0.01 for lf and 0.1 for the others, scaled with the batch]",
)
@click.option(
    "--recipe",
    type=click.Choice(["paper", "steady"]),
    default="paper",
    help="paper: a tenth of the rate every 30 epochs, as published. steady: the classifier starts "
    "as logistic regression and learns slowly, warm-up, cosine, larger crops, a second loss on "
    "what the delta's own features answer; for few epochs and small batches.",
)
@click.option(
    "--decay-epochs",
    type=int,
    help="Divide the rate by ten after each so many epochs; 0: at each third of the run.  "
    "[default: the recipe's, 30 (paper); steady falls along a cosine and reads none]",
)
@click.option(
    "--smallest-crop",
    type=float,
    help="Train on crops of this share of a photo's area or more, 0 to 1.  [default: the "
    "recipe's, 0.25 (paper) or 0.5 (steady)]",
)
@click.option(
    "--image-size",
    type=ImageSizeParam(),
    help="Side of the networks' input in pixels, or height x width, such as 180x320.  [default: "
    "the source's, mostly 224]",
)
@click.option(
    "--crop-share",
    type=float,
    help="Share of the resized picture that the networks see of its height and width, its middle; "
    "1 shows a camera's frame whole where --image-size has its aspect.  [default: the source's, "
    "mostly 0.875]",
)
@click.option(
    "--precision",
    type=click.Choice(["auto", "fp32", "bf16", "fp16"]),
    default="auto",
    help="Arithmetic of training; auto is bf16 on CUDA devices that have it, else fp32. On "
    "CPUs with AVX512-BF16 or AMX, bf16 is up to twice as fast.",
)
@click.option(
    "--hold-out",
    type=float,
    default=0.1,
    help="Share of the training pictures that is kept out of training, for the temperature of the "
    "probabilities, where the data has no validation split beside a test split. Fewer than 20 are "
    "not worth it and none are kept. Readouts are cross-validated in its place.",
)
@click.option(
    "--right-share",
    type=float,
    help="Withhold unsure answers, so that of those given this share is right, such as 0.95: the "
    "least probability that shows it on the held-out pictures is stored. It holds in nine cases "
    "of ten.  [default: every answer is given]",
)
@click.option("--seed", default=0, help="Of weights, order, crops and noise.")
@click.option("--workers", type=click.IntRange(0), default=2, help="Processes that load pictures.")
@click.option(
    "--compile/--no-compile",
    "compile_source",
    default=None,
    help="Compile the source with torch.compile.  [default: on CUDA]",
)
@click.option(
    "--baseline/--no-baseline",
    default=True,
    help="Also measure a linear classifier on the same frozen features.",
)
@click.option(
    "--ray",
    "address",
    metavar="ADDRESS|local",
    help="Train each of several tasks in a run of its own, spread by the Ray at this address, or "
    "by one started here.",
)
@click.option("--resume", is_flag=True, help="Go on with an interrupted run of these tasks.")
@click.option("--overwrite", is_flag=True, help="Replace tasks or an unfinished run.")
def command(  # noqa: PLR0917 - an argument for each option
    tasks: tuple[str, ...],
    listed: tuple[str, ...],
    root: Path,
    architecture: str | None,
    weights: str | None,
    weights_key: str | None,
    source_labels: Path | None,
    sweeps: tuple[str, ...],
    workers: int,
    address: str | None,
    *,
    stride_in_1x1: bool,
    download: bool,
    compile_source: bool | None,
    baseline: bool,
    resume: bool,
    overwrite: bool,
    **form: Any,
) -> None:
    """Train tasks on a frozen source and add them to the store.

    The first task brings the source into the store, once it is found fit for what is to be trained;
    later ones use it. An interrupted run goes
    on with --resume, to the same weights as if it had not been interrupted. With several GPUs
    start it through torchrun: torchrun --nproc-per-node 4 -m snow_deploy train --task …

    Several tasks, by --sweep or by --task and --data given again, are trained on one pass of the
    source a batch. Each ends with what a run of its own ends with.
    """
    from snow_deploy.allocator import keep_freed_memory
    from snow_deploy.cli.train_auto import refuse_sweeps, train_auto
    from snow_deploy.training.bring_source import bring_source, image_size_of
    from snow_deploy.training.run import RunSettings
    from snow_deploy.training.store import Store

    _refuse_mixed(
        (len(tasks), len(listed)), (resume, overwrite), (address is not None, form["scheme"])
    )
    keep_freed_memory()
    store = Store(root)
    for task in tasks:
        store.task_path(task)  # refuses a name that cannot be a task's, before data is read
    source = read_choice(architecture, weights, weights_key, stride_in_1x1, source_labels)
    form["image_size"] = form["image_size"] or image_size_of(store, source)
    variants = list(combinations(sweeps, TrainForm(**form)))
    auto = refuse_sweeps([each for _, each in variants], sweeps)
    refuse_unread([each for _, each in variants], swept(sweeps))
    requests = _requests(list(zip(tasks, listed, strict=True)), variants, download=download)
    planned = [(each.options, len(each.splits.labels)) for each in requests]
    if auto is not None:
        planned += [(auto.readout_options(), classes) for _, classes in planned]
    bring_source(store, source, planned, say_note)
    settings = RunSettings(workers, resume, overwrite, baseline, compile_source)
    first = is_first_process()
    if first:
        for request in requests:
            announce(request, chosen=auto is not None)
    if auto is not None:
        for outcome in train_auto(store, requests, auto, settings):
            report(store, outcome, requests[0].splits.final[0])
        return
    outcome = _trained(store, requests, settings, address)
    if first:
        report(store, outcome, requests[0].splits.final[0])
    _refuse_failures(outcome, requests)


def _refuse_mixed(
    counts: tuple[int, int], again: tuple[bool, bool], spread: tuple[bool, str]
) -> None:
    """Refuse options that do not go together.

    Args:
        counts: How often --task and --data are given.
        again: Whether --resume and --overwrite are.
        spread: Whether --ray is, and the scheme.

    Raises:
        click.UsageError: Some do not.
    """
    msg = None
    if counts[0] != counts[1]:
        msg = f"--task is given {counts[0]} times and --data {counts[1]} times; give them in pairs"
    elif all(again):
        msg = "--resume goes on with a run and --overwrite begins it anew; give one of them"
    elif spread == (True, "auto"):
        msg = "--scheme auto decides here, task by task; --ray is for tasks of a --scheme."
    if msg is not None:
        raise click.UsageError(msg)


def _trained(
    store: Store, requests: Sequence[TaskRequest], settings: RunSettings, address: str | None
) -> TrainingOutcome:
    """Train here, or by the Ray at an address."""
    from snow_deploy.cli.progress import progress_bar
    from snow_deploy.training.any_scheme import train_any

    if address is not None:
        from snow_deploy.training.spread import train_spread

        return train_spread(store, requests, settings, address, say_note)
    with progress_bar("source") as progress:
        return train_any(store, requests, settings, progress)


def _requests(
    pairs: Sequence[tuple[str, str]], variants: Sequence[tuple[str, TrainForm]], *, download: bool
) -> list[TaskRequest]:
    """Read the data of every task, and ask for each of its variants.

    Args:
        pairs: Name and data of each task.
        variants: What to append to its name, and how it is trained.
        download: Whether torchvision may download the data.
    """
    from snow_deploy.data import open_data
    from snow_deploy.training.task_requests import TaskRequest, check_together

    optioned = [(suffix, form.options()) for suffix, form in variants]
    requests, remarks = [], dict[str, None]()
    for task, data in pairs:
        splits = open_data(data, seed=variants[0][1].seed, download=download)
        remarks |= dict.fromkeys(splits.remarks)
        requests += [TaskRequest(f"{task}{suffix}", splits, each) for suffix, each in optioned]
    check_together(requests)
    for remark in remarks:
        say_note(remark)
    return requests


def _refuse_failures(outcome: TrainingOutcome, requests: Sequence[TaskRequest]) -> None:
    """End with an error where a task was given up; the others are stored by now."""
    from snow_deploy.errors import TrainingError

    if outcome.failures:
        reasons = "; ".join(f"{name}: {why}" for name, why in outcome.failures.items())
        trained = {each.name for each in requests if each.options.scheme != "readout"}
        advice = ""
        if trained & outcome.failures.keys():
            advice = " Lower the --lr of what is trained, or take --recipe steady."
        msg = (
            f"{len(outcome.failures)} of {len(requests)} tasks were given up and are not stored "
            f"({reasons}).{advice}"
        )
        raise TrainingError(msg)

"""`snow-deploy train`: one task from a data set into a store."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from snow_deploy.cli.options import store_option

if TYPE_CHECKING:
    from snow_deploy.data import Splits
    from snow_deploy.training.options import TrainOptions
    from snow_deploy.training.store import Store, TaskRecord


@click.command("train")
@click.option("--task", required=True, help="Name of the task: a-z, 0-9, _ and -.")
@click.option(
    "--data",
    required=True,
    metavar="KIND:PATH",
    help="imagefolder:PATH, food101:ROOT, dtd:ROOT, stanfordcars:ROOT, cub200:PATH, "
    "stanford40:PATH, or demo:shape|colour|digit|texture.",
)
@click.option("--download", is_flag=True, help="Let torchvision download the data set.")
@store_option
@click.option(
    "--source",
    "architecture",
    help="torchvision's name of the source's architecture.  [default: the store's, or resnet50]",
)
@click.option(
    "--weights",
    help="The source's weights: imagenet, one of torchvision's weight names, or a .safetensors, "
    ".pth or .pt file.  [default: the store's, or imagenet]",
)
@click.option(
    "--source-labels",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="Text file with the source's own labels, one a line.",
)
@click.option(
    "--scheme",
    type=click.Choice(["snow", "fo", "fe", "ft", "mp", "pn", "lf"]),
    default="snow",
    show_default=True,
    help="The task's network. snow: a delta. What the paper compares it with: fo, a new "
    "classifier on the source; fe, a thin fourth stage on the source's third; ft, a whole network, "
    "fine-tuned; mp, the source with scales of its own; pn, a column beside the source with "
    "adapters; lf, one network for several tasks, learned one after the other (--after).",
)
@click.option(
    "--after",
    metavar="TASK",
    help="With --scheme lf, go on from this task's network and keep what it answers.  "
    "[default: begin with the source]",
)
@click.option(
    "--subscription",
    type=click.Choice(["pooling", "conv1x1", "attention", "all"]),
    default="pooling",
    show_default=True,
    help="How a delta takes over a source tensor's N channels. pooling: chooses N/k. conv1x1: "
    "projects them to N/k. attention: all, each times a gate. all: as they are.",
)
@click.option("--k", default=8, show_default=True, help="Subscribe to N/k of N channels.")
@click.option(
    "--width", default=8, show_default=True, help="Divide the delta's (or fe's) widths by this."
)
@click.option(
    "--sigma2", default=0.001, show_default=True, help="Variance of the channel pooling's noise."
)
@click.option(
    "--pooling-norm",
    type=click.Choice(["before", "after", "none"]),
    default="before",
    show_default=True,
    help="A BatchNorm on the chosen channels before they are weighted, after it (the weights "
    "then never learn), or none.",
)
@click.option("--epochs", default=90, show_default=True, help="Passes over the training pictures.")
@click.option("--batch-size", default=256, show_default=True, help="Pictures a step and device.")
@click.option(
    "--lr",
    type=float,
    help="Learning rate at this batch size.  [default: the recipe's, 1.0 at a batch of 256 for "
    "snow and 0.1 for the others, scaled with the batch]",
)
@click.option(
    "--recipe",
    type=click.Choice(["paper", "steady"]),
    default="paper",
    show_default=True,
    help="paper: three steps, as published. steady: the classifier starts as logistic "
    "regression and learns slowly, warm-up, cosine, larger crops; for few epochs and small "
    "batches.",
)
@click.option(
    "--smallest-crop",
    type=float,
    help="Train on crops of this share of a photo's area or more, 0 to 1.  [default: the "
    "recipe's, 0.25 (paper) or 0.5 (steady)]",
)
@click.option(
    "--image-size", default=224, show_default=True, help="Side of the networks' input, in pixels."
)
@click.option(
    "--precision",
    type=click.Choice(["auto", "fp32", "bf16", "fp16"]),
    default="auto",
    show_default=True,
    help="Arithmetic of training; auto is bf16 on CUDA devices that have it, else fp32.",
)
@click.option("--seed", default=0, show_default=True, help="Of weights, order, crops and noise.")
@click.option("--workers", default=2, show_default=True, help="Processes that load pictures.")
@click.option(
    "--compile/--no-compile",
    "compile_source",
    default=None,
    help="Compile the source with torch.compile.  [default: on CUDA]",
)
@click.option(
    "--baseline/--no-baseline",
    default=True,
    show_default=True,
    help="Also measure a linear classifier on the same frozen features.",
)
@click.option("--resume", is_flag=True, help="Go on with an interrupted run of this task.")
@click.option("--overwrite", is_flag=True, help="Replace a task or an unfinished run.")
def command(task: str, data: str, root: Path, **chosen: Any) -> None:
    """Train one task on a frozen source and add it to the store.

    The first task brings the source into the store; later ones use it. An interrupted run goes
    on with --resume, to the same weights as if it had not been interrupted. With several GPUs
    start it through torchrun.
    """
    from snow_deploy.data import open_data
    from snow_deploy.training.run import RunSettings, train_task
    from snow_deploy.training.store import Store
    from snow_runtime.manifest import check_task_name

    check_task_name(task)
    _refuse_unread(chosen["scheme"], chosen["subscription"])
    options = _options(chosen)
    splits = open_data(data, seed=options.seed, download=chosen["download"])
    store = Store(root)
    _ensure_source(store, chosen["architecture"], chosen["weights"], chosen["source_labels"])
    settings = RunSettings(
        workers=chosen["workers"],
        resume=chosen["resume"],
        overwrite=chosen["overwrite"],
        baseline=chosen["baseline"],
        compile_source=chosen["compile_source"],
    )
    first = os.environ.get("RANK", "0") == "0"  # torchrun runs this once for each device
    if first:
        _announce(task, splits, options)
    record = train_task(store, task, splits, options, settings)
    if first:
        _report(store, record, splits.final[0])


def _refuse_unread(scheme: str, subscription: str) -> None:
    """Refuse options that were given, but that what is trained does not read."""
    delta, pools = scheme == "snow", scheme == "snow" and subscription == "pooling"
    read = {
        "after": scheme == "lf",
        "subscription": delta,
        "k": delta and subscription in {"pooling", "conv1x1"},
        "width": delta or scheme == "fe",
        "sigma2": pools,
        "pooling_norm": pools,
    }
    context = click.get_current_context()
    for name, is_read in read.items():
        if not is_read and context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            what = f"--scheme {scheme}" + (f" --subscription {subscription}" if delta else "")
            msg = f"{what} does not read --{name.replace('_', '-')}; leave it out"
            raise click.UsageError(msg)


def _options(chosen: dict[str, Any]) -> TrainOptions:
    from snow_deploy.models.delta import DeltaOptions
    from snow_deploy.training.options import TrainOptions, recipe_for

    follows = chosen["after"] is not None
    recipe = recipe_for(chosen["recipe"], chosen["scheme"], follows=follows)
    if chosen["smallest_crop"] is not None:
        recipe = replace(recipe, smallest_crop=chosen["smallest_crop"])
    options = TrainOptions(
        delta=DeltaOptions(
            chosen["k"],
            chosen["width"],
            chosen["sigma2"],
            chosen["pooling_norm"],
            subscription=chosen["subscription"],
        ),
        recipe=recipe,
        epochs=chosen["epochs"],
        batch_size=chosen["batch_size"],
        image_size=chosen["image_size"],
        precision=chosen["precision"],
        seed=chosen["seed"],
        scheme=chosen["scheme"],
        after=chosen["after"],
    )
    if chosen["lr"] is None:
        return options
    at_reference = options.recipe.lr * chosen["lr"] / options.learning_rate()
    return replace(options, recipe=replace(options.recipe, lr=at_reference))


def _ensure_source(
    store: Store, architecture: str | None, weights: str | None, labels: Path | None
) -> None:
    """Bring the source into the store, or check that it is the one asked for."""
    from snow_deploy.errors import StoreError
    from snow_deploy.models.weights import load_weights

    kept = store.source_weights().architecture if store.has_source() else None
    if kept is not None and weights is None:
        if architecture not in {None, kept}:
            msg = (
                f"{store.root} holds a {kept}, not a {architecture}. Leave --source out, or "
                "choose another --store."
            )
            raise StoreError(msg)
        return
    loaded = load_weights(weights or "imagenet", architecture or kept or "resnet50")
    if labels is not None:
        loaded = loaded.with_labels(labels.read_text(encoding="utf-8").splitlines())
    store.put_source(loaded)


def _announce(task: str, splits: Splits, options: TrainOptions) -> None:
    split, pictures = splits.final
    click.echo(
        f"task {task}: {len(splits.labels)} classes, {len(splits.train)} train and "
        f"{len(pictures)} {split} pictures, {options.epochs} epochs, "
        f"learning rate {options.learning_rate(int(os.environ.get('WORLD_SIZE', '1'))):g}"
    )


def _report(store: Store, record: TaskRecord, split: str) -> None:
    metrics = record.metrics
    linear = metrics.get("linear_accuracy")
    click.echo(
        f"task {record.name}: {split} accuracy {metrics['accuracy']:.4f}"
        + ("" if linear is None else f", linear classifier {linear:.4f}")
        + f", {metrics['parameters'] / 1e6:.2f} M parameters -> {store.task_path(record.name)}"
    )
    if metrics["skipped"]:
        click.echo(f"{metrics['skipped']:.0f} pictures could not be read", err=True)

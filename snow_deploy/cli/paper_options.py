"""Options of `snow-deploy paper`'s commands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from snow_deploy.cli.options import AT_LEAST_ONE, FOLDER
from snow_deploy.cli.source_options import read_choice, say_note, source_options

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from snow_deploy.models.network import Scheme
    from snow_deploy.paper.costs import Costing
    from snow_deploy.paper.study import Study

SCHEMES = ("fo", "fe", "ft", "mp", "pn", "lf", "snow")
"""As in `snow_deploy.paper.study`, which this module must not import: it brings torch."""


class Several(click.ParamType[Any]):
    """Values of one type, with commas between them."""

    def __init__(
        self, kind: type[int | float | str], least: float | None = None, *, repeats: bool = False
    ) -> None:
        """Take the type of each, the least that a number may be, and whether one may repeat."""
        self.kind, self.least, self.repeats = kind, least, repeats
        self.name = f"{kind.__name__}s"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[Any, ...]:
        """Read a text; refuse what is no such value, is too small, or is there twice."""
        if isinstance(value, tuple):
            return value
        try:
            found = tuple(self.kind(part.strip()) for part in str(value).split(","))
        except ValueError:
            self.fail(f"{value!r} is not a list such as 1,2,3", param, ctx)
        if self.least is not None and any(each < self.least for each in found):  # type: ignore[operator]
            self.fail(f"{value!r} has a value below {self.least:g}", param, ctx)
        if len(set(found)) < len(found) and not self.repeats:
            self.fail(f"{value!r} has a value twice", param, ctx)
        return found


class Schemes(Several):
    """Names of schemes, with commas between them."""

    def __init__(self) -> None:
        """Take names."""
        super().__init__(str)
        self.name = "schemes"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[Any, ...]:
        """Read a text; refuse what is no scheme."""
        found = super().convert(value, param, ctx)
        for name in found:
            if name not in SCHEMES:
                self.fail(
                    f"{name!r} is no scheme; expected some of {', '.join(SCHEMES)}", param, ctx
                )
        return found


class SchemeBatch(click.ParamType[Any]):
    """`SCHEME=N`."""

    name = "scheme=n"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, int]:
        """Read a text."""
        if isinstance(value, tuple):
            return value
        scheme, _, number = str(value).partition("=")
        if scheme not in SCHEMES or not number.isdecimal() or int(number) < 2:
            self.fail(f"{value!r} is not such as ft=128", param, ctx)
        return scheme, int(number)


def _all(*options: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def decorate(function: Any) -> Any:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


output_option = click.option(
    "-o",
    "--output",
    type=FOLDER,
    default="paper-output",
    help="Folder of the table, its plot, and what is kept to go on from.",
)
schemes_option = click.option(
    "--schemes", type=Schemes(), default=",".join(SCHEMES), help="What is compared."
)
_image_size_option = click.option("--image-size", default=224, help="Side of the input, in pixels.")
_batch_and_size = _all(
    click.option("--batch-size", default=256, help="Pictures a step."),
    _image_size_option,
    click.option(
        "--precision",
        type=click.Choice(["auto", "fp32", "bf16", "fp16"]),
        default="auto",
        help="Arithmetic of training; auto is bf16 on CUDA devices that have it, else fp32. On "
        "CPUs with AVX512-BF16 or AMX, bf16 is up to twice as fast.",
    ),
)
rounds_option = click.option(
    "--rounds", type=AT_LEAST_ONE, default=3, help="Visits to each, in turns."
)
_OF_TRAINING = (
    *("weights", "weights_key", "stride_in_1x1"),
    *("seeds", "epochs", "workers", "download"),
)
"""Options that mean nothing where nothing is trained."""
OF_STEPS = ("recipe", "batch_size", "image_size", "precision")
"""Options that mean nothing where no training step is measured either."""
_ANY_CLASSES = 2  # whether a network can be built does not depend on their number
_OF_A_STUDY = (
    *("schemes", "seeds", "recipe", "epochs", "batch_size", "image_size", "precision"),
    *("workers", "download"),
)


def training_options(*, required: bool) -> Callable[[Any], Any]:
    """Return the options of a command that trains; with `required`, on data that must be given."""
    return _all(
        click.option(
            "--data",
            multiple=True,
            required=required,
            metavar="NAME=KIND:PATH",
            help="A data set, by any reader of `train --data`; several times."
            + ("" if required else "  [default: none: no accuracies]"),
        ),
        output_option,
        click.option(
            "--store",
            "root",
            type=FOLDER,
            help="Folder of the trained runs.  [default: OUTPUT/store]",
        ),
        source_options,
        click.option(
            "--seeds",
            type=Several(int, 0),
            default="0",
            help="Train each run once for each: mean and spread. Figures 5 and 6 take the first.",
        ),
        click.option("--epochs", default=90, help="Of each run."),
        click.option(
            "--recipe",
            type=click.Choice(["paper", "steady"]),
            default="paper",
            help="How runs are trained; see train.",
        ),
        _batch_and_size,
        click.option(
            "--workers", type=click.IntRange(0), default=2, help="Processes that load pictures."
        ),
        click.option("--download", is_flag=True, help="Let torchvision download data."),
    )


def measuring_options(*, steps: bool) -> Callable[[Any], Any]:
    """Return the options of a command that trains nothing; with `steps` it measures training's."""
    return _all(
        output_option,
        click.option("--source", "architecture", default="resnet50", help="Architecture."),
        _batch_and_size if steps else _image_size_option,
    )


classes_option = click.option(
    "--classes",
    type=Several(int, 2, repeats=True),
    help="Classes of each task beside the source's own, for counts and speeds.  "
    "[default: the data's, or the paper's 101,47,40,196,200]",
)
source_classes_option = click.option(
    "--source-classes",
    type=click.IntRange(2),
    help="Classes of the source's own head.  [default: the store's, or 1000]",
)
speed_options = _all(
    click.option("--steps", type=AT_LEAST_ONE, default=10, help="Steps timed together."),
    rounds_option,
    click.option(
        "--batch",
        "batches",
        type=SchemeBatch(),
        multiple=True,
        help="SCHEME=N: another batch for one scheme, as ft=128 in the paper; several times.",
    ),
)


def make_study(chosen: dict[str, Any], *, unread: Sequence[str] = ()) -> Study:
    """Make a study of a command's options; the source comes into the store where data is given.

    Args:
        chosen: The command's values.
        unread: Those that, like all that is of training, mean nothing without data.

    Raises:
        click.UsageError: There is no data for what was given to train on it.
    """
    from snow_deploy.models.weights import is_file
    from snow_deploy.paper.study import Study, parse_data
    from snow_deploy.training.store import Store

    data = parse_data(chosen.get("data", ()))
    if "data" in chosen and not data:
        _refuse_without_data([*_OF_TRAINING, *unread])
    given = {name: chosen[name] for name in _OF_A_STUDY if name in chosen}
    study = Study(
        output=chosen["output"],
        store=Store(chosen.get("root") or chosen["output"] / "store"),
        data=data,
        say=lambda line: click.echo(line, err=True),
        **given,
    )
    if not data:
        return study
    weights = chosen["weights"]
    at_hand = study.store.has_source() if weights is None else is_file(weights)
    if at_hand:  # a wrong one is told before much data is looked through
        _bring_source(study, chosen)
    for name in data:  # all of it, before weights are fetched and hours are trained
        study.splits(name)
    if not at_hand:
        _bring_source(study, chosen)
    return study


def _bring_source(study: Study, chosen: dict[str, Any]) -> None:
    """Bring the source into the study's store, if it serves for what is compared."""
    from snow_deploy.training.bring_source import bring_source

    schemes: Sequence[Scheme] = study.schemes if "schemes" in chosen else ("snow",)
    planned = [(study.options(scheme, study.seeds[0]), _ANY_CLASSES) for scheme in schemes]
    bring_source(study.store, read_choice(chosen), planned, say_note)


def _refuse_without_data(names: Sequence[str]) -> None:
    """Refuse options of training where there is nothing to train on."""
    context = click.get_current_context()
    for name in names:
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            option = f"--{name.replace('_', '-')}"
            msg = (
                f"{option} is of training, and without --data nothing is trained. Give --data "
                f"NAME=KIND:PATH, or leave {option} out."
            )
            raise click.UsageError(msg)


def _batches(pairs: Sequence[tuple[str, int]], compared: Sequence[str]) -> dict[Scheme, int]:
    """Read `--batch SCHEME=N` several times.

    Raises:
        click.UsageError: A scheme is named twice, or is not compared.
    """
    batches: dict[Any, int] = {}
    for scheme, number in pairs:
        if scheme in batches or scheme not in compared:
            why = "is given twice" if scheme in batches else "is of a scheme that is not compared"
            msg = f"--batch {scheme}={number} {why}; give one for some of {', '.join(compared)}"
            raise click.UsageError(msg)
        batches[scheme] = number
    return batches


def make_costing(
    chosen: dict[str, Any], study: Study, compared: Sequence[str] | None = None
) -> Costing:
    """Make what costs are of: the options', else the store's and the data's, else the paper's.

    Args:
        chosen: The command's values.
        study: Made of them.
        compared: Schemes whose steps are measured; None for the study's.

    Raises:
        click.UsageError: A batch is given for a scheme that is not compared.
    """
    from snow_deploy.models.source import Source
    from snow_deploy.paper.costs import Costing
    from snow_deploy.paper.measure.steps import Effort
    from snow_deploy.paper.printed import ARCHITECTURE, CLASSES, SOURCE_CLASSES

    classes: tuple[int, ...] = chosen["classes"] or ()
    if not classes and study.data:
        classes = tuple(len(study.splits(data).labels) for data in study.data)
    architecture, own = ARCHITECTURE, SOURCE_CLASSES
    if study.data or (chosen["architecture"] is None and study.store.has_source()):
        source = Source(study.store.source_weights())
        architecture, own = source.architecture, source.num_classes
    return Costing(
        architecture=chosen["architecture"] or architecture,
        source_classes=chosen["source_classes"] or own,
        classes=classes or CLASSES,
        effort=Effort(chosen.get("steps", 10), chosen.get("rounds", 3)),
        batches=_batches(chosen.get("batches", ()), compared or study.schemes),
        speed=chosen.get("speed", "rounds" in chosen),
    )

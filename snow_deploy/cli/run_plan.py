"""What `snow-deploy run` is to do, checked as far as that goes without opening anything."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Final

import click

from snow_deploy.cli.collect_options import collecting_of
from snow_deploy.cli.config_option import file_cameras_of, masks_of, questions_of, views_of
from snow_deploy.cli.follow_options import FOLLOW_PARAMETERS
from snow_deploy.cli.named_cameras import named_cameras, options_by_camera, refuse_nameless
from snow_deploy.cli.options import is_given, is_typed
from snow_deploy.cli.page_address import check_access, check_page
from snow_deploy.cli.run_options import RunOptions
from snow_deploy.cli.run_outputs import check_outputs
from snow_deploy.cli.state_options import state_rules
from snow_deploy.cli.webhook_options import webhook_target
from snow_runtime.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

    from snow_deploy.cli.config_masks import Masks
    from snow_deploy.cli.config_questions import AskedQuestions
    from snow_runtime.app.loop import Loop
    from snow_runtime.app.questions.question import Question
    from snow_runtime.app.questions.view import CameraView
    from snow_runtime.app.states.keeper import AskedTask
    from snow_runtime.app.states.rules import StateRules
    from snow_runtime.cameras import CameraOptions
    from snow_runtime.collection.options import CollectionOptions
    from snow_runtime.swap import SwappableModel

_WHILE_IT_RUNS: Final = frozenset(
    {
        "readouts",
        "tasks",
        "every",
        "min_confidence",
        "unknown",
        "state_agree",
        "state_dwell",
        "state_upper",
        "state_lower",
        "state_stale",
        "frames",
        "threads",
        "rebuild",
    }
)
"""Options that may change while cameras and outputs stay as they are."""


_OF_THE_COMMAND: Final = frozenset({"model", "config", *FOLLOW_PARAMETERS})


@dataclass(frozen=True)
class RunPlan:
    """A model, and what is asked of it.

    Attributes:
        model: File of the graph or engine, or a server's address.
        options: The options, with their secrets.
        cameras: Names and addresses of the cameras.
        how: Options of the cameras, by name.
        loading: Options of `snow_runtime.load`.
        rules: When states change; None where none are kept.
        own_rules: When those of single questions do, by name.
        questions: Questions; None asks all tasks about each frame.
        collecting: How much is kept of what the cameras show; None keeps nothing.
        masks: Regions of cameras' pictures that are never kept, by camera.
        views: Views by camera, those too that nothing is asked about.
    """

    model: Path | str
    options: RunOptions
    cameras: tuple[tuple[str, str], ...]
    how: Mapping[str, CameraOptions]
    loading: Mapping[str, Any]
    rules: StateRules | None
    own_rules: Mapping[str, StateRules]
    questions: tuple[Question, ...] | None
    collecting: CollectionOptions | None
    masks: Masks
    views: Mapping[str, tuple[CameraView, ...]]

    @property
    def needed(self) -> tuple[str, ...] | None:
        """Names of the tasks that the model has to have; None where it may have any."""
        if self.questions is None:
            return self.options.task_names
        return tuple(dict.fromkeys(question.task for question in self.questions))

    def check_tasks(self, model: SwappableModel) -> None:
        """Look whether a model has the tasks that are asked for.

        Raises:
            InputError: It lacks one.
        """
        missing = [name for name in self.needed or () if name not in model.tasks]
        if self.questions is None:
            self.options.wanted_tasks(model)
        elif missing:
            msg = (
                f"The model has no task {', '.join(missing)}, which questions ask for, expected "
                f"some of {', '.join(model.tasks)}. Correct the questions, or export it with them."
            )
            raise InputError(msg)

    def check_addresses(self) -> None:
        """Look at what its text alone can be wrong in; a secret that was not read may be anything.

        Raises:
            CameraError: An address of a camera is none.
            InputError: That of the broker, of the webhook or of the model is none, the broker's
                certificates do not go with it, or the page's token or a name of it is unfit.
        """
        from snow_runtime.app.outputs.mqtt_broker import Broker, MqttOptions
        from snow_runtime.backends.remote.address import parse_remote
        from snow_runtime.cameras.opening import check_address
        from snow_runtime.secret_references import stand_in

        options = self.options.with_stand_ins()
        for _, given in self.cameras:
            before, _, query = given.partition("?")
            known = given if stand_in(query) == query else before  # of numbers, a secret tells none
            if (uri := stand_in(known)) is not None:
                check_address(uri)
        if options.mqtt is not None:
            broker = Broker.parse(options.mqtt)
            files = (options.mqtt_ca, options.mqtt_cert, options.mqtt_key)
            MqttOptions(*files).check_files(secure=broker.secure)
        if options.port is not None:
            check_access(options.host, options.token, options.allowed_hosts)
        if options.webhook is not None:
            webhook_target(options)
        if isinstance(self.model, str) and (model := stand_in(self.model)) is not None:
            parse_remote(model)

    def asked(self, loop: Loop) -> dict[tuple[str, str], AskedTask]:
        """Return, by camera and question, what the answers in a loop may be."""
        from snow_runtime.app.states.feed import asked_tasks

        tasks, added = asked_tasks(loop.model), loop.added
        if loop.questions is not None:
            asked = loop.questions.all
            return {(q.camera, q.name): tasks[q.task] for q in asked if q.task in tasks}
        wanted = self.options.task_names
        if wanted is not None and added is not None:
            wanted = *wanted, *added.names
        shown = {name: task for name, task in tasks.items() if wanted is None or name in wanted}
        return {
            (camera, name): task
            for camera, _ in self.cameras
            for name, task in shown.items()
            if added is None or added.is_about(camera, name)
        }

    def changes_beyond(self, other: RunPlan) -> list[str]:
        """Return the options that differ from another plan's and need cameras or outputs anew."""
        changed = [
            each.name
            for each in fields(RunOptions)
            if each.name not in _WHILE_IT_RUNS
            and getattr(self.options, each.name) != getattr(other.options, each.name)
        ]
        return changed if self.masks == other.masks else [*changed, "masks"]


def plan_of(context: click.Context, *, secrets: bool = True) -> RunPlan:
    """Check a command line of `run`, with the file that it names.

    Args:
        context: The command's, the present one.
        secrets: Whether the secrets that options name are read.

    Raises:
        click.UsageError: Options contradict each other.
        SnowError: A secret cannot be read, or a number is out of its range.
    """
    given = {name: each for name, each in context.params.items() if name not in _OF_THE_COMMAND}
    options = _without_unused_broker(RunOptions(**given))
    model: Path | str = context.params["model"]
    if secrets:
        options = options.with_secrets(model)
    if options.task_names == ():
        msg = "--tasks names none; name one or more, or leave it out for all."
        raise click.UsageError(msg)
    cameras = named_cameras(options.uris)
    if options.record is not None:
        refuse_nameless(options.uris)
    check_outputs(options)
    check_page(options.port)
    names = [name for name, _ in cameras]
    rules, asked = state_rules(options), questions_of(context)
    if asked is not None:
        _check_questions(asked, options, names)
        if asked.rules and rules is None and not is_given("states"):
            named = ", ".join(asked.rules)
            msg = f"The questions {named} have rules for states, and none are kept; add [states]."
            raise click.UsageError(msg)
    masks = masks_of(context)
    _check_masks(masks, names, file_cameras_of(context), options)
    return RunPlan(
        model,
        options,
        tuple(cameras),
        options_by_camera(names, options.tls_fingerprint, options.tls_host),
        options.for_load(model),
        rules,
        {} if asked is None or rules is None else asked.rules_beside(rules),
        None if asked is None else asked.questions,
        collecting_of(options),
        masks,
        views_of(context),
    )


def _check_masks(
    masks: Masks, cameras: list[str], of_file: Collection[str], options: RunOptions
) -> None:
    """Look whether a camera is stored without masks that may be meant for it.

    Raises:
        click.UsageError: One is that the file does not know, and masks of the file are left over.
    """
    unmasked, unknown = sorted(set(masks) - set(cameras)), sorted(set(cameras) - set(of_file))
    if unmasked and unknown and not (options.collect is None and options.record is None):
        msg = (
            f"The configuration masks {', '.join(unmasked)}, and the camera {', '.join(unknown)} "
            "is none of its own. Name it as there, as NAME=ADDRESS, or give it masks."
        )
        raise click.UsageError(msg)


def _without_unused_broker(options: RunOptions) -> RunOptions:
    """Leave the file's broker out where the command line sends answers elsewhere."""
    if options.output == "mqtt" or not is_typed("output") or is_typed("mqtt"):
        return options
    return replace(options, mqtt=None, mqtt_discovery=None)


def _check_questions(asked: AskedQuestions, options: RunOptions, cameras: list[str]) -> None:
    """Look whether questions fit the options.

    Raises:
        click.UsageError: They do not.
    """
    if options.tasks is not None:
        msg = "tasks are chosen by the questions of the configuration; leave --tasks out."
        raise click.UsageError(msg)
    missing = sorted({each.camera for each in asked.questions} - set(cameras))
    if missing:
        msg = f"The configuration asks about {', '.join(missing)}, and --camera names no such one."
        raise click.UsageError(msg)

"""Cameras, model and outputs of `snow-deploy run`, opened, kept up to date and closed."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING

import click

from snow_deploy.cli.options import readout_files
from snow_deploy.cli.run_collect import begin_collecting, masking_of
from snow_deploy.cli.run_labelling import labelling_page
from snow_deploy.cli.run_outputs import open_output, open_recorders
from snow_deploy.cli.run_page import serve_page
from snow_deploy.cli.run_refit import begin_refitting, begin_watching, questions_asked
from snow_deploy.cli.run_site import attend_broker
from snow_deploy.cli.webhook_options import open_webhook
from snow_runtime.errors import CameraError

if TYPE_CHECKING:
    from collections.abc import Callable

    from snow_deploy.cli.follower import Follower
    from snow_deploy.cli.run_plan import RunPlan
    from snow_deploy.cli.signals import Signals
    from snow_deploy.cli.systemd import ServiceManager
    from snow_runtime.app.labelling import Labelling
    from snow_runtime.app.latest_frames import LatestFrames
    from snow_runtime.app.loop import Loop, LoopOptions
    from snow_runtime.app.outputs.jsonl import Output
    from snow_runtime.app.states.feed import StateFeed
    from snow_runtime.app.states.keeper import StateKeeper
    from snow_runtime.app.states.log import StateLog
    from snow_runtime.app.stats import Stats
    from snow_runtime.cameras import Camera
    from snow_runtime.refit.service import RefitService
    from snow_runtime.swap import SwappableModel


class RunSession:
    """Does what a plan says until it is ended, and follows a configuration that changes.

    What can change while it runs changes so. For the rest, cameras and outputs are closed and
    opened anew, with the states that there were. Where the new plan does not come to run, the old
    one does again.

    Args:
        plan: What to do.
        signals: Signals of the process.
        manager: What watches over the process.
        again: Function that reads the plan anew; None where only the model is loaded anew.
        follower: What brings updates; None for nothing.
    """

    def __init__(
        self,
        plan: RunPlan,
        signals: Signals,
        manager: ServiceManager,
        again: Callable[[], RunPlan] | None = None,
        follower: Follower | None = None,
    ) -> None:
        self._plan = plan
        self._signals = signals
        self._manager = manager
        self._again = again
        self._follower = follower
        self._one_reload = threading.Lock()
        self._ran: RunPlan | None = None  # the last one that came to run
        self._next: RunPlan | None = None
        self._keeper: StateKeeper | None = None
        self._refit: RefitService | None = None
        self._log: StateLog | None = None  # what it told, for the page
        self._live: LatestFrames | None = None  # of the last loop, for its switches
        self._output: Output | None = None

    def run(self) -> None:
        """Go on until the cameras have ended or somebody stops it.

        Raises:
            SnowError: Something cannot be opened, or fails for good.
            click.UsageError: Options contradict each other.
        """
        while True:
            self._next = None
            try:
                with ExitStack() as stack:
                    self._run(stack)
            except (click.exceptions.Exit, click.Abort):  # a signal, while nothing ran
                raise
            except Exception as error:  # whatever a new plan runs into, the old one did not
                if self._ran is None or self._ran is self._plan:
                    raise
                why = _say_old_stays(error)
                if self._follower is not None:
                    self._follower.fail(why)
                self._next = self._ran
            if self._next is not None:
                self._plan = self._next
                self._signals.begin_anew()
            if self._next is None or self._signals.asked_to_end:
                self._manager.stopping()
                return

    def _run(self, stack: ExitStack) -> None:
        from snow_runtime.app.latest_frames import LatestFrames
        from snow_runtime.app.loop import Loop
        from snow_runtime.app.stats import Stats
        from snow_runtime.cameras import CameraGroup, open_camera

        plan, options, stats = self._plan, self._plan.options, Stats()
        outputs = self._opened_outputs(stats, stack)
        recorders = open_recorders(
            options.record, plan.cameras, stats.count, stack, partial(masking_of, plan)
        )
        swappable = _opened_model(plan, stack)
        cameras = [
            stack.enter_context(open_camera(uri, name=name, options=plan.how[name]))
            for name, uri in plan.cameras
        ]
        loop = Loop(
            swappable,
            stack.enter_context(CameraGroup(cameras)),
            outputs,
            _loop_options(plan),
            recorders,
            stats,
            LatestFrames(self._log),
            questions=questions_asked(plan),
        )
        self._go_on(loop, outputs[0])
        beat = partial(self._manager.beat, stats.totals)
        loop.beat = beat if self._manager.watches else None
        label = self._begin_learning(loop, stack)
        serve_page(lambda: self._plan, loop, cameras, stack, label)
        attend_broker(options, outputs[0], loop, cameras, stack)
        with self._signals.guiding(loop, lambda: self._reload(loop)):
            self._ran = plan
            self._manager.ready(_status(plan))
            if self._follower is not None:
                self._follower.tell_by(plan.options)
                follower = self._follower.attached(lambda: self._reload(loop), stats.totals)
                stack.enter_context(follower)
            answered = loop.run()
        if loop.collecting is not None:
            loop.collecting.close()  # what it still keeps is in the summary
        _summary(answered, loop, cameras)
        if self._next is None and all(camera.status.state == "failed" for camera in cameras):
            msg = "No camera is left: each failed, as said above. Check the addresses."
            raise CameraError(msg)

    def _go_on(self, loop: Loop, output: Output) -> None:
        """Give a loop the states and switches of the one before."""
        from snow_runtime.app.outputs.jsonl import StateOutput
        from snow_runtime.app.states.event import StateNews

        loop.states = self._states(loop)
        loop.live.go_on_from(self._live, [name for name, _ in self._plan.cameras])
        self._live = loop.live
        if loop.states is None and isinstance(output, StateOutput):
            output.tell(StateNews((), ()))

    def _begin_learning(self, loop: Loop, stack: ExitStack) -> Labelling | None:
        """Collect, watch for drift and fit anew, as is asked; return the page for labels."""
        begin_collecting(self._plan, loop, stack)
        begin_watching(self._plan.options, loop)
        self._refit = begin_refitting(lambda: self._plan, loop, stack)
        return labelling_page(lambda: self._plan, self._refit, stack)

    def _opened_outputs(self, stats: Stats, stack: ExitStack) -> list[Output]:
        """Open the output, and the webhook if there is one."""
        outputs = [self._opened_output(stats)]
        stack.callback(outputs[0].close)
        webhook = open_webhook(self._plan.options, stats.count)
        if webhook is not None:
            stack.callback(webhook.close)
            outputs.append(webhook)
        return outputs

    def _opened_output(self, stats: Stats) -> Output:
        """Open the output; on a broker it takes off what the one before has left for good."""
        from snow_runtime.app.outputs.mqtt import Mqtt

        before = self._output
        self._output = open_output(self._plan.options, stats.count)
        if isinstance(before, Mqtt) and isinstance(self._output, Mqtt):
            self._output.inherit(before.left)
        return self._output

    def _states(self, loop: Loop) -> StateFeed | None:
        from snow_runtime.app.states.feed import StateFeed
        from snow_runtime.app.states.keeper import StateKeeper
        from snow_runtime.app.states.log import StateLog

        plan = self._plan
        if plan.rules is None:
            self._keeper, self._log = None, None
            loop.live.changes = StateLog()
            return None
        self._log = loop.live.changes
        if self._keeper is None:
            self._keeper = StateKeeper(plan.rules)
        self._keeper.follow(plan.rules, plan.own_rules)
        return StateFeed(self._keeper, lambda: self._plan.asked(loop))

    def _reload(self, loop: Loop) -> str | None:
        """Read the plan anew, and the model; begin anew where it cannot be followed otherwise.

        Returns:
            Why the old one stays; None where it does not.
        """
        with self._one_reload:
            self._manager.reloading()
            why = None
            try:
                plan = self._plan if self._again is None else self._again()
                plan.check_addresses()  # before anything is closed
            except Exception as error:  # noqa: BLE001 - whatever a file says, what runs goes on
                why = _say_old_stays(error)
            else:
                changed = plan.changes_beyond(self._plan)
                if changed:
                    click.echo(f"the configuration has changed; {_named(changed)} anew", err=True)
                    self._next = plan
                    loop.stop()
                    return None
                why = self._follow(plan, loop)
            self._manager.ready(_status(self._plan), why)
            return why

    def _follow(self, plan: RunPlan, loop: Loop) -> str | None:
        why = _swap(loop.model, plan, self._refit)
        if why is not None:
            return why
        self._plan = self._ran = plan
        loop.options, loop.questions = _loop_options(plan), questions_asked(plan, self._refit)
        if self._keeper is not None and plan.rules is not None:
            self._keeper.follow(plan.rules, plan.own_rules)
        return None


def _opened_model(plan: RunPlan, stack: ExitStack) -> SwappableModel:
    """Load a plan's model with its readouts, and check that it answers what is asked."""
    from snow_runtime.model import load
    from snow_runtime.swap import SwappableModel

    model = load(plan.model, **plan.loading)
    swappable = stack.enter_context(SwappableModel(model))
    model.warmup()
    model.self_check()
    for readout in readout_files(plan.options.readouts):
        model.add_readout(readout)
    plan.check_tasks(swappable)
    return swappable


def _status(plan: RunPlan) -> str:
    from snow_runtime.backends.remote.address import shown_place

    return f"{len(plan.cameras)} cameras, {shown_place(plan.model)}"


def _loop_options(plan: RunPlan) -> LoopOptions:
    from snow_runtime.app.loop import LoopOptions

    options = plan.options
    every, least, frames = options.every, options.min_confidence, options.frames
    return LoopOptions(options.task_names, every, least, frames, options.unknown)


def _swap(model: SwappableModel, plan: RunPlan, refit: RefitService | None) -> str | None:
    """Put the model of a plan in the place of the present one; return why that failed."""
    from snow_runtime.backends.remote.address import shown_place

    try:
        readouts = readout_files(plan.options.readouts)
        live = () if refit is None else refit.live
        needed = plan.needed or ()
        model.swap(plan.model, readouts=readouts, where_fit=live, needed=needed, **plan.loading)
    except Exception as error:  # noqa: BLE001 - whatever it is, what runs goes on
        click.echo(f"error: the old model stays: {error}", err=True)
        return str(error)
    if refit is not None:
        refit.after_swap()
    click.echo(f"{shown_place(plan.model)} loaded anew: {', '.join(model.tasks)}", err=True)
    return None


def _say_old_stays(error: Exception) -> str:
    text = error.format_message() if isinstance(error, click.ClickException) else str(error)
    click.echo(f"error: the old configuration stays: {text}", err=True)
    return text


def _named(options: list[str]) -> str:
    return ", ".join("cameras" if name == "uris" else name.replace("_", " ") for name in options)


def _summary(answered: int, loop: Loop, cameras: list[Camera]) -> None:
    """Say on standard error what was done, and what was lost."""
    found = loop.stats.snapshot()
    latency = ", ".join(f"p{float(q) * 100:.0f} {ms:.1f}" for q, ms in found["latency_ms"].items())
    click.echo(f"{answered} frames answered; latency ms: {latency or 'none'}", err=True)
    for camera in cameras:
        status, counters = camera.status, camera.counters
        error = f", last error: {status.error}" if status.error else ""
        click.echo(
            f"{camera.name}: {counters.frames} frames, {counters.drops} dropped, "
            f"{counters.reconnections} reconnections, {counters.lost_s:.1f} s lost, "
            f"{counters.bad_frames} damaged, {counters.repeats} repeated, "
            f"{counters.freezes} times frozen, {counters.size_changes} changes of size, "
            f"{counters.abandoned} reads left behind{error}",
            err=True,
        )
    for what, count in found["counts"].items():
        click.echo(f"{what}: {count}", err=True)

"""`snow-deploy run`: cameras in, answers out, until it is stopped."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import click

from snow_deploy.cli.named_cameras import named_cameras, options_by_camera, refuse_nameless
from snow_deploy.cli.options import (
    AT_LEAST_ONE,
    FILE,
    PATH,
    FiniteRange,
    readout_files,
    readout_option,
)
from snow_deploy.cli.run_options import RunOptions
from snow_deploy.cli.run_outputs import open_output, open_recorders
from snow_deploy.cli.run_page import serve_page
from snow_deploy.cli.run_site import attend_broker
from snow_deploy.cli.signals import Signals, non_blocking_errors
from snow_deploy.cli.state_options import state_options, state_rules
from snow_runtime.errors import CameraError, SnowError

if TYPE_CHECKING:
    from pathlib import Path

    from snow_runtime.app.loop import Loop
    from snow_runtime.app.states.feed import StateFeed
    from snow_runtime.app.states.keeper import AskedTask
    from snow_runtime.app.states.rules import StateRules
    from snow_runtime.cameras import Camera
    from snow_runtime.swap import SwappableModel


@click.command("run")
@click.argument("model", type=PATH, default="snow.onnx")
@click.option(
    "--camera",
    "uris",
    metavar="[NAME=]URI",
    multiple=True,
    required=True,
    help="file://, a folder, v4l2:///dev/video0, rtsp://, http://, csi://0, synthetic://; several "
    "share the model. In the place of a secret write {env:NAME} or {file:PATH}.",
)
@click.option(
    "--tls-fingerprint",
    metavar="[NAME=]SHA256",
    multiple=True,
    help="Of an https:// camera: accept the certificate with this fingerprint, and no other.",
)
@click.option(
    "--tls-host",
    metavar="[NAME=]HOST",
    multiple=True,
    help="Of an https:// camera: the name that its certificate is for.",
)
@readout_option
@click.option("--tasks", metavar="A,B", help="Answer these only.  [default: all of the model]")
@click.option(
    "--every", type=AT_LEAST_ONE, default=1, help="Look at one in N frames of a camera only."
)
@click.option(
    "--min-confidence",
    type=FiniteRange(0, 1),
    default=0.0,
    help="Leave out answers with a lower probability.",
)
@state_options
@click.option(
    "--output",
    type=click.Choice(["jsonl", "events", "mqtt", "none"]),
    default="jsonl",
    help="jsonl: a line on standard output for each frame; events: for each change of a state.",
)
@click.option(
    "--mqtt",
    metavar="URL",
    help="The broker: mqtt://[user:{env:NAME}@]host[:port][/topic], or mqtts://.",
)
@click.option(
    "--mqtt-ca",
    type=FILE,
    help="Certificates (PEM) to trust of an mqtts:// broker.  [default: the system's]",
)
@click.option(
    "--mqtt-cert", type=FILE, help="This client's certificate (PEM), for brokers that ask for one."
)
@click.option(
    "--mqtt-key", type=FILE, help="The certificate's key, if it lies in a file of its own."
)
@click.option(
    "--mqtt-qos",
    type=click.Choice(["0", "1"]),
    default="1",
    help="1: the broker says what became of each answer.",
)
@click.option("--mqtt-retain", is_flag=True, help="Have the broker keep each camera's last answer.")
@click.option(
    "--mqtt-version",
    type=click.Choice(["5", "3.1.1"]),
    default="5",
    help="Of the protocol; an older broker cannot tell that it refused an answer.",
)
@click.option(
    "--mqtt-switches",
    is_flag=True,
    help="Take commands from the broker that turn a task of a camera on and off.",
)
@click.option(
    "--mqtt-discovery",
    metavar="PREFIX",
    help="Describe cameras and states to Home Assistant, below its discovery prefix: "
    "homeassistant, unless you changed it there.",
)
@click.option(
    "--record",
    type=FILE,
    help="Append frames to FILE.mjpeg and answers to FILE.jsonl (FILE may end in .mjpeg); of "
    "several cameras, which then need names, to FILE-NAME.mjpeg each.",
)
@click.option(
    "--port", type=click.IntRange(0, 65535), help="Serve the live page and /metrics here."
)
@click.option("--host", default="127.0.0.1", help="Address of the live page.")
@click.option(
    "--token", envvar="SNOW_TOKEN", help="Of the page, or {file:PATH}; made up where one is needed."
)
@click.option(
    "--allowed-host",
    "allowed_hosts",
    metavar="NAME[:PORT]",
    multiple=True,
    help="Name of the page behind a proxy, as browsers show it; once for each.",
)
@click.option("--frames", type=AT_LEAST_ONE, help="Stop after so many frames.")
@click.option("--threads", type=AT_LEAST_ONE, help="CPU threads of ONNX Runtime.")
@click.option(
    "--rebuild", is_flag=True, help="Build an engine anew from its graph if it does not run here."
)
def command(model: Path, **given: Any) -> None:
    """Ask MODEL, a graph or an engine, about every frame of the cameras.

    Frames that wait together are answered together, and each camera's newest frame counts: a model
    slower than a camera never lags behind it. SIGHUP loads MODEL and its readouts anew while frames
    flow; SIGTERM, Ctrl-C and closing the terminal end it cleanly. Without MODEL it is snow.onnx.
    """
    options = RunOptions(**given).with_secrets()
    named = named_cameras(options.uris)
    if options.record is not None:
        refuse_nameless(options.uris)
    loading = options.for_load(model)
    with ExitStack() as stack:
        stack.enter_context(non_blocking_errors())
        signals = stack.enter_context(Signals())
        _run(model, named, options, loading, signals, stack)


def _run(  # noqa: PLR0917 - the command's parts
    path: Path,
    named: list[tuple[str, str]],
    options: RunOptions,
    loading: dict[str, Any],
    signals: Signals,
    stack: ExitStack,
) -> None:
    from snow_runtime.app.loop import Loop, LoopOptions
    from snow_runtime.app.stats import Stats
    from snow_runtime.cameras import CameraGroup, open_camera
    from snow_runtime.model import load
    from snow_runtime.swap import SwappableModel

    stats = Stats()
    rules = state_rules(options)
    how = options_by_camera([name for name, _ in named], options.tls_fingerprint, options.tls_host)
    output = open_output(options, stats.count)
    stack.callback(output.close)
    recorders = open_recorders(options.record, named, stats.count, stack)
    model = load(path, **loading)
    swappable = stack.enter_context(SwappableModel(model))
    model.warmup()
    model.self_check()
    for readout in readout_files(options.readouts):
        model.add_readout(readout)
    wanted = options.wanted_tasks(swappable)
    cameras = [
        stack.enter_context(open_camera(uri, name=name, options=how[name])) for name, uri in named
    ]
    loop = Loop(
        swappable,
        stack.enter_context(CameraGroup(cameras)),
        [output],
        LoopOptions(wanted, options.every, options.min_confidence, options.frames),
        recorders,
        stats,
        states=None if rules is None else _states(rules, swappable, wanted, named),
    )
    serve_page(options, loop, cameras, stack)
    attend_broker(options, output, loop, cameras)
    how_to_swap = {"needed": wanted or (), **loading}
    with signals.guiding(loop, lambda: _swap(swappable, path, options.readouts, how_to_swap)):
        answered = loop.run()
    _summary(answered, loop, cameras)
    if all(camera.status.state == "failed" for camera in cameras):
        msg = "No camera is left: each failed, as said above. Check the addresses."
        raise CameraError(msg)


def _states(
    rules: StateRules,
    model: SwappableModel,
    wanted: tuple[str, ...] | None,
    named: list[tuple[str, str]],
) -> StateFeed:
    from snow_runtime.app.states.feed import StateFeed, asked_tasks
    from snow_runtime.app.states.keeper import StateKeeper

    def asked() -> dict[tuple[str, str], AskedTask]:
        tasks = asked_tasks(model)
        return {
            (camera, name): task
            for camera, _ in named
            for name, task in tasks.items()
            if wanted is None or name in wanted
        }

    return StateFeed(StateKeeper(rules), asked)


def _swap(
    model: SwappableModel, path: Path, readouts: tuple[Path, ...], how: dict[str, Any]
) -> None:
    try:
        model.swap(path, readouts=readout_files(readouts), **how)
    except SnowError as error:
        click.echo(f"error: the old model stays: {error}", err=True)
    else:
        click.echo(f"{path} loaded anew: {', '.join(model.tasks)}", err=True)


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

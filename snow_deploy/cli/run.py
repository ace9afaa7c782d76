"""`snow-deploy run`: cameras in, answers out, until it is stopped."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from snow_deploy.cli.named_cameras import named_cameras, options_by_camera, refuse_nameless
from snow_deploy.cli.options import AT_LEAST_ONE, FILE, PATH, FiniteRange
from snow_deploy.cli.signals import Signals, non_blocking_errors
from snow_runtime.errors import CameraError, InputError, SnowError

if TYPE_CHECKING:
    from collections.abc import Callable

    from snow_runtime.app.loop import Loop
    from snow_runtime.app.outputs.jsonl import Output
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
@click.option(
    "--output",
    type=click.Choice(["jsonl", "mqtt", "none"]),
    default="jsonl",
    help="jsonl: a line on standard output for each frame.",
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
    "--record",
    type=FILE,
    help="Append frames to FILE.mjpeg and answers to FILE.jsonl; of several cameras, which then "
    "need names, to FILE-NAME.mjpeg each.",
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
def command(model: Path, uris: tuple[str, ...], **form: Any) -> None:
    """Ask MODEL, a graph or an engine, about every frame of the cameras.

    Frames that wait together are answered together, and each camera's newest frame counts: a model
    slower than a camera never lags behind it. SIGHUP loads MODEL anew while frames flow; SIGTERM,
    Ctrl-C and closing the terminal end it cleanly.
    """
    uris, form = _with_secrets(uris, form)
    named = named_cameras(uris)
    if form["record"] is not None:
        refuse_nameless(uris)
    options = _load_options(model, form)
    with ExitStack() as stack:
        stack.enter_context(non_blocking_errors())
        signals = stack.enter_context(Signals())
        _run(model, named, options, form, signals, stack)


def _run(  # noqa: PLR0917 - the command's parts
    path: Path,
    named: list[tuple[str, str]],
    options: dict[str, Any],
    form: dict[str, Any],
    signals: Signals,
    stack: ExitStack,
) -> None:
    from snow_runtime.app.loop import Loop, LoopOptions
    from snow_runtime.app.stats import Stats
    from snow_runtime.cameras import CameraGroup, open_camera
    from snow_runtime.model import load
    from snow_runtime.swap import SwappableModel

    stats = Stats()
    how = options_by_camera([name for name, _ in named], form["tls_fingerprint"], form["tls_host"])
    output = _output(form, stats.count)
    stack.callback(output.close)
    recorders = _recorders(form["record"], named, stats.count, stack)
    model = load(path, **options)
    swappable = stack.enter_context(SwappableModel(model))
    wanted = _wanted(form["tasks"], swappable)
    model.warmup()
    model.self_check()
    cameras = [
        stack.enter_context(open_camera(uri, name=name, options=how[name])) for name, uri in named
    ]
    loop = Loop(
        swappable,
        stack.enter_context(CameraGroup(cameras)),
        [output],
        LoopOptions(wanted, form["every"], form["min_confidence"], form["frames"]),
        recorders,
        stats,
    )
    _serve(form, loop, cameras, stack)
    with signals.guiding(loop, lambda: _swap(swappable, path, wanted or (), options)):
        answered = loop.run()
    _summary(answered, loop, cameras)
    if all(camera.status.state == "failed" for camera in cameras):
        msg = "No camera is left: each failed, as said above. Check the addresses."
        raise CameraError(msg)


def _with_secrets(
    uris: tuple[str, ...], form: dict[str, Any]
) -> tuple[tuple[str, ...], dict[str, Any]]:
    """Read the secrets that addresses name, and warn of those that stand there themselves."""
    from snow_runtime.secret_references import holds_password, resolve_secrets

    context = click.get_current_context()
    open_ones = [*uris, form["mqtt"] or ""]
    typed = context.get_parameter_source("token") is ParameterSource.COMMANDLINE
    if any(map(holds_password, open_ones)) or (typed and not form["token"].startswith("{")):
        click.echo(
            "warning: a password or token stands on the command line, where every user of this "
            "machine can read it; write {env:NAME} or {file:PATH} in its place",
            err=True,
        )
    resolved = {
        name: form[name] and resolve_secrets(form[name], escape=name == "mqtt")
        for name in ("mqtt", "token")
    }
    return tuple(resolve_secrets(uri, escape=True) for uri in uris), {**form, **resolved}


def _load_options(model: Path, form: dict[str, Any]) -> dict[str, Any]:
    from snow_runtime.model import is_engine

    engine = is_engine(model)
    if form["threads"] is not None and engine:
        msg = f"--threads is for graphs, and {model} is an engine: it computes on the GPU."
        raise click.UsageError(msg)
    if form["rebuild"] and not engine:
        msg = f"--rebuild is for engines, and {model} is a graph."
        raise click.UsageError(msg)
    options: dict[str, Any] = {"rebuild": "auto"} if form["rebuild"] else {}
    if form["threads"] is not None:
        options["threads"] = form["threads"]
    return options


def _wanted(names: str | None, model: SwappableModel) -> tuple[str, ...] | None:
    if names is None:
        return None
    wanted = tuple(name.strip() for name in names.split(",") if name.strip())
    unknown = [name for name in wanted if name not in model.tasks]
    if unknown or not wanted:
        msg = (
            f"The model has no task {', '.join(unknown) or repr(names)}, expected some of "
            f"{', '.join(model.tasks)}. Give those with --tasks."
        )
        raise InputError(msg)
    return wanted


def _output(form: dict[str, Any], count: Callable[[str], None]) -> Output:
    from snow_runtime.app.outputs.jsonl import JsonLines, NullOutput
    from snow_runtime.app.outputs.mqtt import Mqtt
    from snow_runtime.app.outputs.mqtt_broker import MqttOptions

    if (form["output"] == "mqtt") != (form["mqtt"] is not None):
        msg = "--output mqtt and --mqtt URL belong together."
        raise click.UsageError(msg)
    _refuse_unread_mqtt(form["output"])
    if form["output"] == "mqtt":
        options = MqttOptions(
            authorities=form["mqtt_ca"],
            certificate=form["mqtt_cert"],
            key=form["mqtt_key"],
            qos=1 if form["mqtt_qos"] == "1" else 0,
            retain=form["mqtt_retain"],
            version=form["mqtt_version"],
        )
        return Mqtt(form["mqtt"], count, options)
    return JsonLines(count) if form["output"] == "jsonl" else NullOutput()


def _refuse_unread_mqtt(output: str) -> None:
    context = click.get_current_context()
    for name in ("mqtt_ca", "mqtt_cert", "mqtt_key", "mqtt_qos", "mqtt_retain", "mqtt_version"):
        given = context.get_parameter_source(name) is ParameterSource.COMMANDLINE
        if given and output != "mqtt":
            msg = f"--{name.replace('_', '-')} is for --output mqtt; leave it out."
            raise click.UsageError(msg)


def _recorders(
    path: Path | None, named: list[tuple[str, str]], count: Callable[[str], None], stack: ExitStack
) -> dict[str, Any]:
    from snow_runtime.app.outputs.recording import Recorder, recording_path

    if path is None:
        return {}
    several = len(named) > 1
    found = {}
    for name, uri in named:
        target = recording_path(path, name if several else None)
        if target.exists() and _is_source(uri, target):
            msg = f"--record would write to {target}, which the camera {name} reads; name another."
            raise click.UsageError(msg)
        recorder = Recorder(target, count, camera=name)
        stack.callback(recorder.close)
        found[name] = recorder
    return found


def _is_source(uri: str, path: Path) -> bool:
    """Tell whether a camera reads a file."""
    from snow_runtime.cameras.uri import parse

    address = parse(uri)
    read = Path(address.target)
    return address.scheme in {"path", "file"} and read.is_file() and read.samefile(path)


def _serve(form: dict[str, Any], loop: Loop, cameras: list[Camera], stack: ExitStack) -> None:
    if form["port"] is None:
        return
    from snow_runtime.app.page import PageServer, new_token

    loopback = form["host"] in ("127.0.0.1", "::1", "localhost")
    token = form["token"] or (None if loopback else new_token())
    server = stack.enter_context(
        PageServer(
            loop.live,
            loop.stats,
            lambda: {camera.name: _state(camera) for camera in cameras},
            lambda: tuple(loop.options.tasks or loop.model.tasks),
            host=form["host"],
            port=form["port"],
            token=token,
            allowed_hosts=form["allowed_hosts"],
        )
    )
    shown = server.entry_url if token and not form["token"] else server.url
    click.echo(f"live page: {shown}", err=True)
    if form["allowed_hosts"] and token is None:
        click.echo(
            "note: the page has no token; whoever reaches the proxy sees it and uses its switches. "
            "Give --token, or let the proxy ask for a password.",
            err=True,
        )


def _state(camera: Camera) -> dict[str, Any]:
    status, counters = camera.status, camera.counters
    return {
        "state": status.state,
        "since_s": time.monotonic() - status.since.monotonic_s,
        "error": status.error,
        "code": status.code,
        "connected": int(status.state == "connected"),
        "frames": counters.frames,
        "drops": counters.drops,
        "reconnections": counters.reconnections,
        "bad_frames": counters.bad_frames,
        "repeats": counters.repeats,
        "freezes": counters.freezes,
        "size_changes": counters.size_changes,
        "abandoned": counters.abandoned,
        "lost_s": counters.lost_s,
    }


def _swap(
    model: SwappableModel, path: Path, wanted: tuple[str, ...], options: dict[str, Any]
) -> None:
    try:
        manifest = model.swap(path, needed=wanted, **options)
    except SnowError as error:
        click.echo(f"error: the old model stays: {error}", err=True)
    else:
        names = ", ".join(task.name for task in manifest.tasks)
        click.echo(f"{path} loaded anew: {names}", err=True)


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

"""`snow-deploy run`: cameras in, answers out, until it is stopped."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import click

from snow_deploy.cli.collect_options import collect_options
from snow_deploy.cli.config_option import ConfigurableCommand, config_option, read_again
from snow_deploy.cli.follow_options import box_options, follow_option
from snow_deploy.cli.options import (
    AT_LEAST_ONE,
    FILE,
    THREADS,
    FiniteRange,
    ModelPlace,
    readout_option,
)
from snow_deploy.cli.run_plan import plan_of
from snow_deploy.cli.run_session import RunSession
from snow_deploy.cli.signals import Signals, non_blocking_errors
from snow_deploy.cli.state_options import state_options
from snow_deploy.cli.systemd import ServiceManager
from snow_deploy.cli.webhook_options import webhook_options

if TYPE_CHECKING:
    from pathlib import Path

    from snow_deploy.cli.run_plan import RunPlan


@click.command("run", cls=ConfigurableCommand)
@click.argument("model", type=ModelPlace(), default="snow.onnx")
@config_option
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
    "--unknown/--no-unknown",
    default=True,
    help="Say which answers are unknown: the picture is unlike those trained on, or the answer "
    "unsure.",
)
@click.option(
    "--drift/--no-drift",
    default=False,
    help="Say where a camera's frames of the last hours are unlike those trained on.",
)
@click.option(
    "--output",
    type=click.Choice(["jsonl", "events", "mqtt", "none"]),
    default="jsonl",
    help="jsonl: a line on standard output for each frame; events: for each change of a state, and "
    "for drift.",
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
@webhook_options
@collect_options
@click.option(
    "--record",
    type=FILE,
    help="Append frames to FILE.mjpeg and answers to FILE.jsonl (FILE may end in .mjpeg); of "
    "several cameras, which then need names, to FILE-NAME.mjpeg each. Masks are black in them.",
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
@click.option("--threads", type=THREADS, help="CPU threads of ONNX Runtime.")
@follow_option
@box_options
@click.option(
    "--rebuild", is_flag=True, help="Build an engine anew from its graph if it does not run here."
)
def command(model: Path | str, config: Path | None, **given: Any) -> None:
    """Ask MODEL, a graph or an engine, about every frame of the cameras.

    MODEL may be on a server: grpc://HOST[:PORT]/NAME[/VERSION], or grpcs://.

    Frames that wait together are answered together, and each camera's newest frame counts: a model
    slower than a camera never lags behind it. SIGHUP reads MODEL, its readouts and the file of
    --config anew; SIGTERM, Ctrl-C and closing the terminal end it cleanly. Without MODEL it is
    snow.onnx, or with --follow the graph or engine of the box's release.
    """
    from snow_deploy.cli.follower import follower_of

    del model, given  # the context has them
    context = click.get_current_context()
    with ExitStack() as stack:
        stack.enter_context(non_blocking_errors())
        follower = follower_of(context, stack)

        def planned(of: click.Context) -> RunPlan:
            if follower is not None:
                follower.name_files(of)
            return plan_of(of)

        def again() -> RunPlan:
            fresh = read_again(context)
            with fresh.scope(cleanup=False):
                return planned(fresh)

        plan = planned(context)
        signals = stack.enter_context(Signals())
        changes = config is not None or follower is not None
        manager = ServiceManager()
        RunSession(plan, signals, manager, again if changes else None, follower).run()

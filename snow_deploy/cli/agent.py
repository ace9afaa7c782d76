"""`snow-deploy agent`: a box that takes releases, tries them, and goes back by itself."""

from __future__ import annotations

import shlex
import signal
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from snow_deploy.cli.follow_options import agent_options, box_options, transport_of
from snow_deploy.cli.options import FILE, warn_of_secrets

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from snow_runtime.app.outputs.box_status import BoxStatusPublisher
    from snow_runtime.update.agent import Agent
    from snow_runtime.update.program import Program


@click.command("agent")
@click.argument("place")
@click.argument("program", nargs=-1, type=click.UNPROCESSED)
@box_options
@click.option(
    "--reload",
    "reload_command",
    metavar="COMMAND",
    help="Where something else looks after the program: has it load the model anew, such as "
    "'systemctl reload snow'.",
)
@click.option(
    "--health",
    "health_command",
    metavar="COMMAND",
    help="Its exit code is 0 as long as that program does well.",
)
@click.option("--once", is_flag=True, help="Take one release up, watch it, and end.")
@click.option(
    "--mqtt", metavar="URL", help="Tell a broker how the box does: retained, TOPIC/fleet/ID."
)
@click.option("--mqtt-ca", type=FILE, help="Certificates (PEM) to trust of an mqtts:// broker.")
@click.option("--mqtt-cert", type=FILE, help="This client's certificate (PEM).")
@click.option("--mqtt-key", type=FILE, help="The certificate's key.")
def command(place: str, program: tuple[str, ...], *, once: bool, **given: Any) -> None:
    """Keep this box at the release that the publication at PLACE has for it.

    PLACE is https://HOST/PATH, http://, or a folder such as a USB stick. Everything is checked
    before it is opened. --box/current is the present release: PROGRAM, behind --, works by it, as
    in `snow-deploy agent PLACE --box B -- snow-deploy run B/current/snow.onnx --camera …`. It is
    started, started again, and gets SIGHUP for another release. If that fails while it is watched,
    the box goes back to the release before.
    """
    from snow_runtime.update.agent import Agent
    from snow_runtime.update.box import Box

    reload_command, health_command = given["reload_command"], given["health_command"]
    if program and (reload_command or health_command):
        msg = "--reload and --health are for a program that something else starts; leave them out."
        raise click.UsageError(msg)
    options = agent_options(given)
    publisher = _publisher(given)
    box = Box(given["box"])
    warn_of_secrets([place])
    transport = transport_of(place, given)
    with box.alone():
        box.root(options.root)
        works = _program(program, reload_command, health_command)
        tell = None if publisher is None else publisher.put
        is_ready = _readiness(works)
        agent = Agent(box, transport, works, options, tell=tell, is_ready=is_ready)
        agent.recover()
        agent.begin()
        try:
            with _ended_by_signals() as stop:
                _once(agent, stop) if once else agent.rounds(stop)
        finally:
            if publisher is not None:
                publisher.close()


def _once(agent: Agent, stop: threading.Event) -> None:
    """Do rounds until a release is settled or something is wrong; say how it ended."""
    agent.heed(stop)
    state = agent.step()
    while agent.state.trial is not None and not stop.is_set():
        stop.wait(agent.pause_s)
        state = agent.step()
    agent.end()
    click.echo(f"{state}: {agent.error or 'nothing is wrong'}")
    if agent.error is not None:
        sys.exit(1)


def _readiness(program: Program) -> Callable[[], bool]:
    """Return what tells whether a program works by its release, where it says so itself."""
    from snow_runtime.update.child_program import ChildProgram

    return (lambda: program.ready) if isinstance(program, ChildProgram) else (lambda: True)


def _program(
    program: tuple[str, ...], reload_command: str | None, health_command: str | None
) -> Program:
    from snow_runtime.update.child_program import ChildProgram
    from snow_runtime.update.program import CommandProgram

    if program:
        return ChildProgram(program)
    return CommandProgram(shlex.split(reload_command or ""), shlex.split(health_command or ""))


def _publisher(given: dict[str, Any]) -> BoxStatusPublisher | None:
    """Make what tells a broker, if there is one."""
    from snow_runtime.app.outputs.box_status import BoxStatusPublisher
    from snow_runtime.app.outputs.mqtt_broker import MqttOptions
    from snow_runtime.secret_references import resolve_secrets

    url, files = given["mqtt"], [given[name] for name in ("mqtt_ca", "mqtt_cert", "mqtt_key")]
    if url is None:
        if any(files):
            msg = "--mqtt-ca, --mqtt-cert and --mqtt-key are for --mqtt; give that too."
            raise click.UsageError(msg)
        return None
    warn_of_secrets([url])
    options = MqttOptions(*files)
    return BoxStatusPublisher(resolve_secrets(url, escape=True), options)


@contextmanager
def _ended_by_signals() -> Iterator[threading.Event]:
    """Give an event that SIGTERM and Ctrl-C set; give the signals back at the end."""
    stop = threading.Event()
    numbers = (signal.SIGTERM, signal.SIGINT)
    before = [signal.signal(number, lambda *_: stop.set()) for number in numbers]
    try:
        yield stop
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)

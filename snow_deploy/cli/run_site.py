"""What `snow-deploy run` tells a broker of its cameras and questions, and takes from it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from snow_runtime.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import ExitStack

    from snow_deploy.cli.run_options import RunOptions
    from snow_runtime.app.loop import Loop
    from snow_runtime.app.outputs.jsonl import Output
    from snow_runtime.app.outputs.site import Availability, SiteNow
    from snow_runtime.cameras import Camera

_AVAILABILITY: Final[dict[str, Availability]] = {"connected": "online", "frozen": "stale"}


def check_discovery(options: RunOptions) -> None:
    """Check that there is something to describe, and a topic to do so.

    Raises:
        click.UsageError: No states are kept.
        InputError: Nothing can be published below the prefix, or the broker's address has it.
    """
    from snow_runtime.app.outputs.mqtt_broker import Broker
    from snow_runtime.app.outputs.mqtt_topics import is_topic
    from snow_runtime.secret_references import stand_in

    prefix = options.mqtt_discovery
    if prefix is None:
        return
    if not options.states:
        msg = "--mqtt-discovery describes states; give --states too, or leave it out."
        raise click.UsageError(msg)
    if prefix != prefix.strip("/") or not is_topic(prefix):
        msg = (
            f"--mqtt-discovery {prefix!r} is no topic to publish below, expected one without '+' "
            "and '#' that neither begins nor ends with '/'. Give homeassistant, unless you changed "
            "the discovery prefix in Home Assistant."
        )
        raise InputError(msg)
    address = stand_in(options.mqtt or "")
    if address and Broker.parse(address).topic == prefix:
        msg = (
            f"--mqtt-discovery and the address of --mqtt end in the same topic, {prefix!r}, and "
            f"{prefix}/status would be both Home Assistant's and this program's. Give the address "
            "another, as mqtt://host/snow."
        )
        raise InputError(msg)


def attend_broker(
    options: RunOptions, output: Output, loop: Loop, cameras: Sequence[Camera], stack: ExitStack
) -> None:
    """Keep a broker's picture of the cameras and questions true, if one is spoken to.

    Args:
        options: The command's.
        output: Where answers go.
        loop: What answers.
        cameras: The cameras.
        stack: Ends it.
    """
    from snow_runtime.app.outputs.mqtt import Mqtt
    from snow_runtime.app.outputs.site import SiteOptions

    if not isinstance(output, Mqtt):
        return

    def turn(camera: str, question: str, on: bool) -> None:
        loop.live.switch_of(camera, question, on=on)

    output.attend(
        SiteOptions(
            look=lambda: site_now(loop, cameras),
            turn=turn if options.mqtt_switches else None,
            discovery=options.mqtt_discovery,
            qos=int(options.mqtt_qos),
        )
    )
    stack.callback(output.leave)


def site_now(loop: Loop, cameras: Sequence[Camera]) -> SiteNow:
    """Return what a broker is told: of cameras, questions and figures."""
    from dataclasses import asdict

    from snow_runtime.app.outputs.site import SiteNow

    found = loop.stats.snapshot()
    if loop.questions is not None:
        asked = [(each.camera, each.name) for each in loop.questions.all]
    else:
        asked = [(camera.name, task) for camera in cameras for task in loop.asked]
    return SiteNow(
        cameras={each.name: _AVAILABILITY.get(each.status.state, "offline") for each in cameras},
        questions={} if loop.states is None else loop.states.asked(),
        on={question: loop.live.shows(*question) for question in asked},
        figures={
            "frames_per_s": round(found["frames_per_s"], 2),
            "latency_ms": found["latency_ms"].get("0.5"),
            "errors": found["counts"].get("errors", 0),
            "counts": found["counts"],
        },
        camera_figures={each.name: asdict(each.counters) for each in cameras},
    )

"""The live page of `snow-deploy run`."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import ExitStack

    from snow_deploy.cli.run_plan import RunPlan
    from snow_runtime.app.loop import Loop
    from snow_runtime.app.setup_now import SetupNow
    from snow_runtime.cameras import Camera


def serve_page(
    plan: Callable[[], RunPlan], loop: Loop, cameras: list[Camera], stack: ExitStack
) -> None:
    """Serve the live page if `--port` asks for it, and say where.

    Args:
        plan: Function that gives what is being done, which may change.
        loop: What answers.
        cameras: The cameras.
        stack: Ends it.
    """
    options = plan().options
    if options.port is None:
        return
    from snow_runtime.app.page import PageServer, new_token

    loopback = options.host in ("127.0.0.1", "::1", "localhost")
    token = options.token or (None if loopback else new_token())
    server = stack.enter_context(
        PageServer(
            loop.live,
            loop.stats,
            lambda: {camera.name: camera_state(camera) for camera in cameras},
            lambda: loop.asked,
            host=options.host,
            port=options.port,
            token=token,
            allowed_hosts=options.allowed_hosts,
            setup=lambda: setup_now(plan(), loop),
        )
    )
    shown = server.entry_url if token and not options.token else server.url
    click.echo(f"live page: {shown}", err=True)
    if options.allowed_hosts and token is None:
        click.echo(
            "note: the page has no token; whoever reaches the proxy sees it and uses its switches. "
            "Give --token, or let the proxy ask for a password.",
            err=True,
        )


def setup_now(plan: RunPlan, loop: Loop) -> SetupNow:
    """Return what the page tells of views, questions and tasks."""
    from snow_runtime.app.questions.question import Question
    from snow_runtime.app.setup_now import QuestionNow, SetupNow
    from snow_runtime.app.states.feed import task_entries

    entries = task_entries(loop.model)
    questions = plan.questions
    if questions is None:
        names = plan.options.task_names or tuple(entries)
        questions = tuple(
            Question(name, name, camera) for camera, _ in plan.cameras for name in names
        )

    def shown(question: Question) -> QuestionNow:
        entry = entries[question.task]
        known = entry.confidence if plan.options.unknown else None
        rules = plan.own_rules.get(question.name, plan.rules)
        return QuestionNow(
            question, entry.answers, None if known is None else known.least_probability, rules
        )

    return SetupNow(
        tuple(shown(question) for question in questions if question.task in entries),
        tuple(entries),
        plan.views,
        chosen=plan.questions is not None,
    )


def camera_state(camera: Camera) -> dict[str, Any]:
    """Return what the page and the metrics tell of a camera."""
    status = camera.status
    return {
        "state": status.state,
        "since_s": time.monotonic() - status.since.monotonic_s,
        "error": status.error,
        "code": status.code,
        "connected": int(status.state == "connected"),
        **asdict(camera.counters),
    }

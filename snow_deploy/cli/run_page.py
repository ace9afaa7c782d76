"""The live page of `snow-deploy run`."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from snow_deploy.cli.page_address import say_address, token_for

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import ExitStack

    from snow_deploy.cli.run_plan import RunPlan
    from snow_runtime.app.labelling import Labelling
    from snow_runtime.app.loop import Loop
    from snow_runtime.app.setup_now import SetupNow
    from snow_runtime.cameras import Camera


def serve_page(
    plan: Callable[[], RunPlan],
    loop: Loop,
    cameras: list[Camera],
    stack: ExitStack,
    labelling: Labelling | None = None,
) -> None:
    """Serve the live page if `--port` asks for it, and say where.

    Args:
        plan: Function that gives what is being done, which may change.
        loop: What answers.
        cameras: The cameras.
        stack: Ends it.
        labelling: The labelling page; None for none.
    """
    options = plan().options
    if options.port is None:
        return
    from snow_runtime.app.page import Dashboard, PageServer, ServingOptions

    token = token_for(options.host, options.token)
    board = Dashboard(
        loop.live,
        loop.stats,
        lambda: {camera.name: camera_state(camera) for camera in cameras},
        lambda: loop.asked,
        setup=lambda: setup_now(plan(), loop),
    )
    serving = ServingOptions(options.host, options.port, token, options.allowed_hosts)
    server = stack.enter_context(PageServer(board, serving, labelling))
    say_address("live page", server, token, options.token, options.allowed_hosts)


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

"""A rollout: it begins, goes on wave by wave, pauses, ends, and is taken back."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from snow_deploy.fleet.errors import PublishError
from snow_runtime.update.rollout import Rollout, Wave

if TYPE_CHECKING:
    from collections.abc import Sequence

_ALL = Wave(share=1.0)


def begin_rollout(rollout: Rollout, release: str, waves: Sequence[Wave]) -> Rollout:
    """Begin to bring a release, with its first wave.

    A release whose last wave is open becomes the settled one.

    Args:
        rollout: What there is.
        release: Name of the release.
        waves: The waves; none for all boxes at once. Those that the last one leaves out follow in
            one more.

    Raises:
        PublishError: Another release is on its way.
    """
    if rollout.state == "running" and rollout.open == len(rollout.waves):
        rollout = go_on(rollout)
    if rollout.state in {"running", "paused"}:
        msg = (
            f"The release {rollout.coming} is on its way ({rollout.open} of {len(rollout.waves)} "
            "waves). Let it come to its end ('snow-deploy publish wave next'), or end it with "
            "'wave abort' or 'wave rollback'."
        )
        raise PublishError(msg)
    each = tuple(waves)
    if not each or each[-1].share < 1:
        each = (*each, _ALL)
    return Rollout(1, rollout.settled, release, each, 1, "running", _now())


def go_on(rollout: Rollout) -> Rollout:
    """Open the next wave; after the last one the release is settled.

    Raises:
        PublishError: Nothing is on its way.
    """
    _check(rollout, "running", "paused")
    if rollout.open == len(rollout.waves):
        return Rollout(1, rollout.coming, None, (), 0, "done", _now())
    return replace(rollout, open=rollout.open + 1, state="running", since=_now())


def pause(rollout: Rollout) -> Rollout:
    """Let no more boxes begin.

    Raises:
        PublishError: Nothing is on its way.
    """
    _check(rollout, "running")
    return replace(rollout, state="paused", since=_now())


def resume(rollout: Rollout) -> Rollout:
    """Let boxes of the open waves begin again.

    Raises:
        PublishError: It is not paused.
    """
    _check(rollout, "paused")
    return replace(rollout, state="running", since=_now())


def abort(rollout: Rollout) -> Rollout:
    """End it: boxes that have the release keep it, and no more get it.

    Raises:
        PublishError: Nothing is on its way.
    """
    _check(rollout, "running", "paused")
    return replace(rollout, state="aborted", since=_now())


def roll_back(rollout: Rollout) -> Rollout:
    """End it: boxes that have the release go back to the one before.

    Raises:
        PublishError: Nothing is on its way, or there is no release before it.
    """
    _check(rollout, "running", "paused", "aborted")
    if rollout.settled is None:
        msg = (
            f"There is no release before {rollout.coming} to go back to. Publish another one; "
            "boxes on which it fails run nothing."
        )
        raise PublishError(msg)
    return replace(rollout, state="rolled-back", since=_now())


def parse_wave(text: str) -> Wave:
    """Read a wave: `10%`, `tag:NAME`, `box:ID`, or some of them with commas.

    Raises:
        PublishError: It is none.
    """
    share = 0.0
    tags: list[str] = []
    boxes: list[str] = []
    for part in text.split(","):
        percent = re.fullmatch(r"(\d+(?:\.\d+)?)%", part.strip())
        kind, colon, name = part.strip().partition(":")
        if percent is not None and 0 < float(percent[1]) <= 100:
            share = max(share, float(percent[1]) / 100)
        elif colon and name and kind in {"tag", "box"}:
            (tags if kind == "tag" else boxes).append(name)
        else:
            msg = (
                f"{text!r} is no wave, expected a share such as 10%, tag:NAME, box:ID, or some of "
                "them with commas between them. Correct it."
            )
            raise PublishError(msg)
    return Wave(share, tuple(tags), tuple(boxes))


def _check(rollout: Rollout, *states: str) -> None:
    if rollout.coming is None or rollout.state not in states:
        msg = (
            f"The rollout is {rollout.state}, expected {' or '.join(states)}. 'snow-deploy publish "
            "show' tells what there is."
        )
        raise PublishError(msg)


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")

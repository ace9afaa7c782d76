"""An installation at one moment: its cameras, and what is asked of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from snow_runtime.app.states.keeper import AskedTask

Availability = Literal["online", "offline", "stale"]
"""A camera gives pictures; gives none; or gives one and the same again and again."""


@dataclass(frozen=True)
class SiteNow:
    """An installation at one moment.

    Attributes:
        cameras: Availability by camera.
        questions: What answers may be, by camera and question; empty where no states are kept.
        on: Whether a question is asked, by camera and question.
        figures: What the whole counts and measures, as plain JSON values.
        camera_figures: The same of each camera.
    """

    cameras: Mapping[str, Availability]
    questions: Mapping[tuple[str, str], AskedTask] = field(default_factory=dict)
    on: Mapping[tuple[str, str], bool] = field(default_factory=dict)
    figures: Mapping[str, Any] = field(default_factory=dict)
    camera_figures: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class SiteOptions:
    """What a broker is told of an installation, and what is taken from it.

    Attributes:
        look: Function that gives the installation now; any thread may call it.
        turn: Function that turns a question of a camera on or off; None takes no commands.
        discovery: First part of Home Assistant's discovery topics; None describes nothing.
        qos: The quality of service that Home Assistant is to subscribe with.
    """

    look: Callable[[], SiteNow]
    turn: Callable[[str, str, bool], None] | None = None
    discovery: str | None = None
    qos: int = 1

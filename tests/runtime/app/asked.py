"""Questions about views of the camera `front`, and states that change as a test wants."""

from __future__ import annotations

from typing import TYPE_CHECKING

from snow_runtime.app.questions.question import Question
from snow_runtime.app.questions.view import CameraView
from snow_runtime.app.setup_now import QuestionNow, SetupNow
from snow_runtime.app.states.event import Change, Evidence, StateEvent, StateNews, StateNow
from snow_runtime.app.states.rules import StateRules
from snow_runtime.cameras.clock import SYSTEM_CLOCK

if TYPE_CHECKING:
    from tests.runtime.app.conftest import Scene

LATCH = CameraView("latch", (0.1, 0.2, 0.4, 0.6), 90)
MAT = CameraView("mat", (0.5, 0.5, 1.0, 1.0), 0, ((0.5, 0.5), (1.0, 0.5), (0.75, 1.0)))
RULES = StateRules(upper=0.8, lower=0.6)
SETUP = SetupNow(
    (
        QuestionNow(Question("latched", "textures", "front", LATCH, 2.0), "one", 0.7, RULES),
        QuestionNow(Question("mess", "clothing", "front", MAT, motion=0.1), "several", 0.7),
        QuestionNow(Question("weather", "textures", "back"), "one"),
    ),
    ("textures", "clothing"),
    {"front": (LATCH, MAT)},
    chosen=True,
)


def become(scene: Scene, *steps: tuple[str, str | None, str, str]) -> None:
    """Change states of the camera: question, label, before and after of each."""
    at = SYSTEM_CLOCK.now()
    events = tuple(
        StateEvent("front", name, label, Change(before, after, "answers", at, Evidence(7, 1e9)))
        for name, label, before, after in steps
    )
    kept = {(each.question, each.label): each for each in scene.live.changes.states}
    kept |= {
        (name, label): StateNow("front", name, label, after, at.unix_s)
        for name, label, _, after in steps
    }
    scene.live.changes.tell(StateNews(events, tuple(kept.values())))

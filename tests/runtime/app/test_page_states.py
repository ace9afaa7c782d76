"""What the page's events tell of views, questions and states."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from snow_runtime.app.dashboard import Dashboard
from snow_runtime.app.setup_now import SetupNow
from tests.runtime.app.asked import SETUP, become
from tests.runtime.app.asking import followed
from tests.runtime.app.conftest import until

if TYPE_CHECKING:
    from tests.runtime.app.conftest import Scene


def test_events_tell_what_is_asked_and_again_only_when_that_changes(scene: Scene) -> None:
    now = SETUP
    with scene.page(setup=lambda: now) as page, followed(page) as stream:
        next(stream)
        setup = next(stream)[1]["setup"]
        assert "setup" not in next(stream)[1]
        now = replace(SETUP, questions=SETUP.questions[:1])
        changed = until(lambda: next(stream)[1].get("setup"))
        assert "setup" not in next(stream)[1]

    assert setup["views"] == {
        "front": [
            {"name": "latch", "box": [0.1, 0.2, 0.4, 0.6], "polygon": None, "rotate": 90},
            {
                "name": "mat",
                "box": [0.5, 0.5, 1.0, 1.0],
                "polygon": [[0.5, 0.5], [1.0, 0.5], [0.75, 1.0]],
                "rotate": 0,
            },
        ]
    }
    assert setup["questions"][0] == {
        "name": "latched",
        "camera": "front",
        "task": "textures",
        "view": "latch",
        "seconds": 2.0,
        "motion": None,
        "answers": "one",
        "least": 0.7,
        "upper": 0.8,
        "lower": 0.6,
    }
    assert [each["view"] for each in setup["questions"]] == ["latch", "mat", "whole"]
    assert (setup["tasks"], setup["chosen"]) == (["textures", "clothing"], True)
    assert [each["name"] for each in changed["questions"]] == ["latched"]


def test_new_viewers_get_the_changes_that_are_kept_and_all_get_each_new_one_once(
    scene: Scene,
) -> None:
    def told(state: dict[str, Any]) -> list[tuple[str, str]]:
        events = state.get("changes", {"events": []})["events"]
        return [(each["before"], each["after"]) for each in events]

    become(scene, ("latched", None, "stale", "open"))
    with scene.page() as page, followed(page) as stream:
        next(stream)
        first = next(stream)[1]
        assert first["changes"]["all"]
        assert told(first) == [("stale", "open")]
        (event,) = first["changes"]["events"]
        assert (event["number"], event["because"], event["evidence"]["frame"]) == (1, "answers", 7)
        become(scene, ("latched", None, "open", "locked"), ("mess", "wet", "off", "on"))
        later = [next(stream)[1] for _ in range(4)]
        with followed(page) as another:
            next(another)
            assert told(next(another)[1]) == [("stale", "open"), ("open", "locked"), ("off", "on")]

    assert [step for state in later for step in told(state)] == [("open", "locked"), ("off", "on")]
    assert not any(state["changes"]["all"] for state in later if "changes" in state)
    states = later[-1]["cameras"][0]["states"]
    assert states["latched"]["state"] == "locked"
    assert states["mess"]["labels"]["wet"]["state"] == "on"


def test_the_share_of_the_time_is_that_of_the_last_five_seconds(scene: Scene) -> None:
    now = 100.0
    board = Dashboard(scene.live, scene.stats, scene.cameras, scene.tasks, clock=lambda: now)
    for tick in range(100):
        if tick >= 50:
            scene.stats.record_view("front", "latch", 30.0)
        scene.stats.record_view("front", "mat", 10.0)
        board.look()
        now += 0.2
    (camera,) = board.state()["cameras"]

    assert camera["shares"] == {"latch": pytest.approx(0.15), "mat": pytest.approx(0.05)}
    assert scene.stats.snapshot()["counts"] == {"view front/latch": 50, "view front/mat": 100}
    assert board.setup() == SetupNow().to_dict()

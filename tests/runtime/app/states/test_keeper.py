from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from snow_runtime.app.states.event import Evidence, StateEvent, states_to_dict
from snow_runtime.app.states.keeper import AskedTask, StateKeeper
from snow_runtime.app.states.rules import StateRules
from snow_runtime.app.states.votes import STALE
from snow_runtime.cameras.clock import Instant
from snow_runtime.results import TaskResult

if TYPE_CHECKING:
    from snow_runtime.multilabel import Labelling

FAST = StateRules(1, 1, dwell_s=0)


def at(seconds: float) -> Instant:
    return Instant(seconds, 1e9 + seconds)


def result(labels: str, shares: list[float], answers: Labelling = "one") -> TaskResult:
    return TaskResult("door", tuple(labels.split()), np.array(shares, np.float32), answers)


def told(events: list[StateEvent]) -> list[tuple[str | None, str, str, str]]:
    return [(e.label, e.change.before, e.change.after, e.change.because) for e in events]


def test_events_say_what_changed_and_which_frame_shows_it() -> None:
    keeper = StateKeeper(FAST)
    (event,) = keeper.see("yard", "door", result("open shut", [1, 0]), Evidence(4, 9.0), at(1))
    assert event.to_dict() == {
        "event": "state",
        "camera": "yard",
        "question": "door",
        "before": "stale",
        "after": "open",
        "because": "answers",
        "time": 1e9 + 1,
        "evidence": {"frame": 4, "time": 9.0},
    }
    assert states_to_dict(keeper.states("yard")) == {"door": {"state": "open", "since": 1e9 + 1}}
    assert keeper.states("elsewhere") == ()
    assert Evidence(4, 9.0, "seen/4.jpg").to_dict()["picture"] == "seen/4.jpg"


def test_each_of_several_labels_is_on_or_off() -> None:
    keeper = StateKeeper(FAST)
    first = result("red striped", [0.9, 0.1], "several")
    assert told(keeper.see("yard", "marks", first, Evidence(0, 1.0), at(0))) == [
        ("red", "stale", "on", "answers"),
        ("striped", "stale", "off", "answers"),
    ]
    then = result("red striped", [0.9, 0.7], "several")
    (event,) = keeper.see("yard", "marks", then, Evidence(1, 2.0), at(1))
    assert event.to_dict()["label"] == "striped"
    assert states_to_dict(keeper.states("yard")) == {
        "marks": {
            "labels": {
                "red": {"state": "on", "since": 1e9},
                "striped": {"state": "on", "since": 1e9 + 1},
            }
        }
    }


def test_what_the_model_cannot_tell_is_unknown() -> None:
    keeper = StateKeeper(FAST)
    shares = np.array([0.9, 0.1], np.float32)
    unlike = TaskResult("door", ("open", "shut"), shares, unlikeness=2.0)
    events = keeper.see("yard", "door", unlike, Evidence(0, 1.0), at(0))
    assert told(events) == [(None, "stale", "unknown", "answers")]
    events = keeper.see("yard", "door", unlike, Evidence(1, 2.0), at(1), unknown=False)
    assert told(events) == [(None, "unknown", "open", "answers")]


def test_a_camera_that_is_away_and_comes_back() -> None:
    keeper = StateKeeper(StateRules(2, 3, dwell_s=0, stale_s=5))
    seen = result("open shut", [1, 0])
    events = keeper.see("yard", "door", seen, Evidence(0, 0.0), at(0))
    events += keeper.see("yard", "door", seen, Evidence(1, 1.0), at(1))
    events += keeper.look(at(5.9))
    events += keeper.look(at(6.1))
    events += keeper.see("yard", "door", seen, Evidence(90, 60.0), at(60))  # one is not enough
    assert keeper.states("yard")[0].state == STALE
    events += keeper.see("yard", "door", seen, Evidence(91, 61.0), at(61))
    assert told(events) == [
        (None, "stale", "open", "answers"),
        (None, "open", "stale", "silence"),
        (None, "stale", "open", "answers"),
    ]


def test_a_return_after_an_outage_that_nobody_looked_at_tells_both() -> None:
    keeper = StateKeeper(StateRules(1, 1, stale_s=5))
    keeper.see("yard", "door", result("open shut", [1, 0]), Evidence(0, 0.0), at(0))
    events = keeper.see("yard", "door", result("open shut", [0, 1]), Evidence(9, 1.0), at(60))
    assert [e[1:3] for e in told(events)] == [("open", "stale"), ("stale", "shut")]


def test_what_need_not_be_asked_is_not_silent() -> None:
    keeper = StateKeeper(StateRules(1, 1, stale_s=5))
    keeper.see("yard", "door", result("open shut", [1, 0]), Evidence(0, 0.0), at(0))
    assert keeper.alive("yard", "door", at(4)) == []
    assert keeper.alive("yard", "no such question", at(4)) == []
    assert keeper.look(at(8)) == []
    assert told(keeper.look(at(9.5))) == [(None, "open", "stale", "silence")]


def test_a_model_with_other_labels_takes_the_place() -> None:
    keeper = StateKeeper(FAST)
    keeper.see("yard", "door", result("open shut", [1, 0]), Evidence(0, 0.0), at(0))
    more = AskedTask(("ajar", "open"), "one")
    assert keeper.expect("yard", "door", more, at(1)) == []
    events = keeper.expect("yard", "door", AskedTask(("ajar", "shut"), "one"), at(2))
    assert told(events) == [(None, "open", "stale", "gone")]


def test_a_label_with_a_state_of_its_own_vanishes() -> None:
    keeper = StateKeeper(FAST)
    both = result("red striped", [0.9, 0.1], "several")
    keeper.see("yard", "marks", both, Evidence(0, 0.0), at(0))
    fewer = result("blue striped", [0.9, 0.1], "several")
    events = keeper.see("yard", "marks", fewer, Evidence(1, 1.0), at(1))
    assert told(events) == [("red", "on", "stale", "gone"), ("blue", "stale", "on", "answers")]
    assert [(s.label, s.state) for s in keeper.states("yard")] == [
        ("blue", "on"),
        ("striped", "off"),
    ]


def test_a_task_that_is_now_of_the_other_kind_begins_anew() -> None:
    keeper = StateKeeper(FAST)
    keeper.see("yard", "door", result("open shut", [1, 0]), Evidence(0, 0.0), at(0))
    events = keeper.see(
        "yard", "door", result("open shut", [1, 0], "several"), Evidence(1, 1.0), at(1)
    )
    assert told(events) == [
        (None, "open", "stale", "gone"),
        ("open", "stale", "on", "answers"),
        ("shut", "stale", "off", "answers"),
    ]


def test_a_question_that_is_asked_no_more() -> None:
    keeper = StateKeeper(FAST)
    for name in ("door", "gate"):
        keeper.see("yard", name, result("open shut", [1, 0]), Evidence(0, 0.0), at(0))
    events = keeper.keep([("yard", "gate")], at(1))
    assert [(e.question, e.change.after, e.change.because) for e in events] == [
        ("door", "stale", "gone")
    ]
    assert [state.question for state in keeper.states("yard")] == ["gate"]


def test_rules_of_one_question() -> None:
    keeper = StateKeeper(StateRules(3, 3), {"gate": FAST})
    seen = result("open shut", [1, 0])
    assert keeper.see("yard", "door", seen, Evidence(0, 0.0), at(0)) == []
    assert len(keeper.see("yard", "gate", seen, Evidence(0, 0.0), at(0))) == 1
    keeper.follow(FAST)
    assert [e.question for e in keeper.look(at(1))] == ["door"]


MODELS = (
    ("one", "open shut"),
    ("one", "shut ajar"),
    ("several", "open shut"),
    ("several", "ajar open"),
)
CAMERAS = ("yard", "gate")
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["see", "see", "see", "look", "alive", "keep", "expect"]),
        st.sampled_from(CAMERAS),
        st.integers(0, len(MODELS) - 1),
        st.booleans(),
        st.sampled_from([0.0, 0.5, 2.0, 11.0, -5.0]),
    ),
    max_size=60,
)


@given(STEPS, st.sampled_from([FAST, StateRules(2, 3, dwell_s=1.0)]))
def test_no_event_is_lost_over_outages_and_swaps(
    steps: list[tuple[str, str, int, bool, float]], rules: StateRules
) -> None:
    """Who follows the events alone knows every state at every moment."""
    keeper = StateKeeper(rules)
    followed: dict[tuple[str, str | None], str] = {}
    now_s = 0.0
    for number, (what, camera, model, first, passes_s) in enumerate(steps):
        now_s += passes_s
        answers, labels = MODELS[model]
        seen = result(labels, [0.9, 0.1] if first else [0.1, 0.9], answers)  # type: ignore[arg-type]
        if what == "see":
            events = keeper.see(camera, "door", seen, Evidence(number, now_s), at(now_s))
        elif what == "look":
            events = keeper.look(at(now_s))
        elif what == "alive":
            events = keeper.alive(camera, "door", at(now_s))
        elif what == "keep":
            events = keeper.keep([(camera, "door")], at(now_s))
        else:
            task = AskedTask(seen.labels, seen.answers)
            events = keeper.expect(camera, "door", task, at(now_s))
        for event in events:
            key = event.camera, event.label
            assert event.change.before == followed.get(key, STALE)
            followed[key] = event.change.after
        now = {(name, s.label): s.state for name in CAMERAS for s in keeper.states(name)}
        assert {key: state for key, state in followed.items() if state != STALE} == {
            key: state for key, state in now.items() if state != STALE
        }

"""A state machine against its rules, read off whole histories, and against a naive one."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snow_runtime.app.states.event import Change, Evidence
from snow_runtime.app.states.machine import StateMachine
from snow_runtime.app.states.rules import StateRules
from snow_runtime.app.states.votes import (
    OFF,
    ON,
    STALE,
    UNKNOWN,
    state_of,
    vote_for_each,
    vote_for_one,
)
from snow_runtime.cameras.clock import Instant
from snow_runtime.errors import InputError

STATES = ("open", "shut", UNKNOWN)
Step = tuple[str, float]  # what, or which vote; and how far the clock goes before it


@st.composite
def rules(draw: st.DrawFn) -> StateRules:
    frames = draw(st.integers(1, 6))
    needed = draw(st.integers(frames // 2 + 1, frames))
    dwell = draw(st.sampled_from([0.0, 2.0, 7.0]))
    return StateRules(needed, frames, dwell, stale_s=draw(st.sampled_from([3.0, 10.0])))


def steps(clock: st.SearchStrategy[float]) -> st.SearchStrategy[list[Step]]:
    what = st.sampled_from([*STATES, "open", "shut", "look", "alive"])
    return st.lists(st.tuples(what, clock), max_size=40)


FORWARD = st.sampled_from([0.0, 0.0, 0.5, 1.0, 2.5, 11.0])
JUMPING = st.sampled_from([0.0, 0.5, 1.0, -1.0, -1e9, 2.5, 11.0, 1e9])


def play(given_rules: StateRules, given: list[Step]) -> tuple[StateMachine, list[list[Change]]]:
    """Do the steps; give what changed at each."""
    machine, now_s, changes = StateMachine(given_rules), 1000.0, []
    for number, (what, passes_s) in enumerate(given):
        now_s += passes_s
        now = Instant(now_s, 5e8 + now_s)
        if what == "look":
            changes.append(machine.look(now))
        elif what == "alive":
            changes.append(machine.alive(now))
        else:
            changes.append(machine.vote(what, Evidence(number, now.unix_s), now))
    return machine, changes


def times(given: list[Step]) -> list[float]:
    """Give how much time has passed at each step; the first one begins it."""
    found, passed = [], 0.0
    for number, (_, passes_s) in enumerate(given):
        passed += max(0.0, passes_s) if number else 0.0
        found.append(passed)
    return found


@given(rules(), steps(JUMPING))
def test_changes_are_a_chain_of_true_changes(given_rules: StateRules, given: list[Step]) -> None:
    machine, changes = play(given_rules, given)
    chain = [change for each in changes for change in each]

    assert [STALE, *(change.after for change in chain)][-1] == machine.state
    assert [change.before for change in chain] == [STALE, *(c.after for c in chain)][:-1]
    assert all(change.before != change.after for change in chain)


@given(rules(), steps(JUMPING))
def test_no_state_without_n_of_m_votes(given_rules: StateRules, given: list[Step]) -> None:
    _, changes = play(given_rules, given)
    votes: list[tuple[str, int]] = []
    for number, (what, _) in enumerate(given):
        new = [(what, number)] * (what in STATES)
        for change in changes[number]:
            if change.because == "silence":
                votes = []
                continue
            deferred = change.evidence is not None and change.evidence.number < number
            if not deferred:
                votes, new = votes + new, []
            newest = votes[-given_rules.frames :]
            agreeing = [at for vote, at in newest if vote == change.after]
            assert len(agreeing) >= given_rules.needed
            assert change.evidence is not None
            assert change.evidence.number == agreeing[-1]
            votes = []  # those that came before a change count no more
        votes += new


@given(rules(), steps(JUMPING))
def test_no_state_is_left_sooner_than_told(given_rules: StateRules, given: list[Step]) -> None:
    _, changes = play(given_rules, given)
    happened = [
        (passed, change)
        for passed, each in zip(times(given), changes, strict=True)
        for change in each
    ]
    for (began, first), (ended, then) in pairwise(happened):
        if then.because == "answers" and first.after != STALE:
            assert ended - began >= given_rules.dwell_s


@given(rules(), steps(JUMPING))
def test_votes_between_two_changes(given_rules: StateRules, given: list[Step]) -> None:
    _, changes = play(given_rules, given)
    last: int | None = None
    counted = 0
    for (what, _), each in zip(given, changes, strict=True):
        counted += what in STATES
        for change in each:
            if change.because == "answers" and change.before != STALE:
                assert last is not None
                assert counted - last >= given_rules.needed
            last = counted


@given(rules(), steps(JUMPING))
def test_stale_exactly_after_silence(given_rules: StateRules, given: list[Step]) -> None:
    _, changes = play(given_rules, given)
    heard = 0.0
    state = STALE
    for (what, _), passed, each in zip(given, times(given), changes, strict=True):
        silent = passed - heard >= given_rules.stale_s
        assert any(change.after == STALE for change in each) == (silent and state != STALE)
        if what != "look":
            heard = passed
        state = each[-1].after if each else state


class Naive:
    """The same, from lists of all that ever was."""

    def __init__(self, given_rules: StateRules) -> None:
        self.rules, self.states, self.heard = given_rules, [(0.0, STALE)], 0.0
        self.votes: list[str] = []

    def step(self, what: str, passed: float) -> str:
        if passed - self.heard >= self.rules.stale_s:
            self.votes = []
            self._set(STALE, passed)
        self._choose(passed)
        if what != "look":
            self.heard = passed
        if what in STATES:
            self.votes = [*self.votes, what]
            self._choose(passed)
        return self.states[-1][1]

    def _choose(self, passed: float) -> None:
        began, state = self.states[-1]
        enough = [vote for vote in STATES if self._newest().count(vote) >= self.rules.needed]
        if enough and (state == STALE or passed >= began + self.rules.dwell_s):
            self._set(enough[0], passed)

    def _newest(self) -> list[str]:
        return self.votes[-self.rules.frames :]

    def _set(self, state: str, passed: float) -> None:
        if state != self.states[-1][1]:
            self.states.append((passed, state))
            self.votes = []


@given(rules(), steps(FORWARD))
def test_it_does_what_a_naive_one_does(given_rules: StateRules, given: list[Step]) -> None:
    naive = Naive(given_rules)
    expected = [
        naive.step(what, passed) for (what, _), passed in zip(given, times(given), strict=True)
    ]
    _, changes = play(given_rules, given)
    state, seen = STALE, []
    for each in changes:
        state = each[-1].after if each else state
        seen.append(state)
    assert seen == expected


@given(rules(), steps(JUMPING))
def test_a_clock_that_goes_back_counts_as_one_that_stands(
    given_rules: StateRules, given: list[Step]
) -> None:
    standing = [(what, max(0.0, passes_s)) for what, passes_s in given]

    def said(steps_given: list[Step]) -> list[list[Any]]:
        _, changes = play(given_rules, steps_given)
        return [[(c.before, c.after, c.because) for c in each] for each in changes]

    assert said(given) == said(standing)


def test_one_answer_in_between_changes_nothing() -> None:
    votes = [("open", 0.1)] * 4 + [("shut", 0.1), ("open", 0.1)] * 20
    _, changes = play(StateRules(), votes)

    assert [change.after for each in changes for change in each] == ["open"]


def test_what_was_held_up_by_the_dwell_comes_when_it_is_over() -> None:
    given: list[Step] = [("open", 0.0), ("shut", 1.0), ("look", 1.0), ("look", 3.0)]
    _, changes = play(StateRules(1, 1, dwell_s=5.0), given)

    assert [[change.after for change in each] for each in changes] == [["open"], [], [], ["shut"]]
    (late,) = changes[-1]
    assert late.evidence == Evidence(1, 5e8 + 1001)
    assert late.at == Instant(1005.0, 5e8 + 1005)


def test_other_rules_keep_the_newest_votes() -> None:
    machine, _ = play(StateRules(5, 5), [("open", 0.0)] * 4)
    assert machine.state == STALE
    machine.rules = StateRules(2, 3)
    (change,) = machine.look(Instant(1000.0, 0.0))
    assert change.after == "open"


def test_a_label_that_vanishes_is_no_state_any_more() -> None:
    machine, _ = play(StateRules(2, 3, dwell_s=0), [("open", 0.0)] * 3)
    now = Instant(1001.0, 7.0)
    assert machine.restrict({"open", "ajar"}, now) == []
    (change,) = machine.restrict({"ajar"}, now)
    assert (change.before, change.after, change.because) == ("open", STALE, "gone")
    assert machine.vote("ajar", Evidence(9, 8.0), now) == []
    assert [c.after for c in machine.vote("ajar", Evidence(10, 8.1), now)] == ["ajar"]


@pytest.mark.parametrize(
    ("label", "state"),
    [("open", "open"), ("unknown", "unknown_"), ("stale", "stale_"), ("stale_", "stale__")],
)
def test_a_label_is_never_taken_for_unknown_or_stale(label: str, state: str) -> None:
    assert state_of(label) == state


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1), st.booleans())
def test_thresholds(share: float, one: float, other: float, unknown: bool) -> None:
    lower, upper = sorted((one, other))
    given_rules = StateRules(upper=upper, lower=lower)
    held = vote_for_one("open", "open", share, given_rules, unknown=unknown)
    new = vote_for_one("shut", "open", share, given_rules, unknown=unknown)
    assert (held == "open") == (share >= lower and not unknown)
    assert (new == "open") == (share >= upper and not unknown)
    assert {held, new} <= {"open", UNKNOWN}

    states = [vote_for_each(s, share, given_rules, unknown=unknown) for s in (ON, OFF, STALE)]
    expected = [ON if share >= least else OFF for least in (lower, upper, upper)]
    assert states == ([UNKNOWN] * 3 if unknown else expected)


def test_thresholds_that_are_not_given() -> None:
    assert vote_for_one(STALE, "open", 0.01, StateRules()) == "open"
    assert vote_for_each(STALE, 0.5, StateRules()) == ON
    assert vote_for_each(ON, 0.49, StateRules()) == OFF


@pytest.mark.parametrize(
    "wrong",
    [
        {"needed": 2, "frames": 4},
        {"needed": 0, "frames": 1},
        {"needed": 6, "frames": 5},
        {"dwell_s": -1.0},
        {"dwell_s": float("nan")},
        {"stale_s": 0.0},
        {"upper": 1.1},
        {"lower": 0.5},
        {"upper": 0.4, "lower": 0.5},
    ],
)
def test_rules_that_cannot_be(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="expected"):
        StateRules(**wrong)

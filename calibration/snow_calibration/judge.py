"""The judgement: whether INT8 is shown to lose less than it may, more, or neither.

With max-drop D, a task passes if it is shown that it loses less than D, and fails if it is shown
that it loses more. "Shown" means by a test that errs with a probability of at most `ERROR`, over
all tasks together (Holm's procedure). What is not shown either way is undecided.
The decision record "The gate is a test" says why.

    S. Holm, A simple sequentially rejective multiple test procedure, Scandinavian Journal of
    Statistics 6 (1979) 65-70.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Final

from snow_calibration.errors import CalibrationError
from snow_calibration.gate import Agreement, TaskScore
from snow_calibration.verdict import MOST_NEEDED, GateOutcome, Verdict
from snow_runtime import paired_tests
from snow_runtime.paired_tests import Counts

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

ERROR: Final = 0.05
"""Probability of passing, or of failing, what should not, over all tasks."""

FEWEST_JUDGED: Final = 16
"""Fewer pictures than this judge nothing, however much may be lost."""

_FAR: Final = 5
"""Times too few pictures are not even tried."""

_LUCK: Final = NormalDist().inv_cdf(0.8)
"""Standard deviations of bad luck that the number of pictures that would decide allows for."""


def judge(
    found: Sequence[TaskScore], max_drop: float, agreements: Sequence[Agreement] = ()
) -> tuple[Verdict, ...]:
    """Judge every task.

    Args:
        found: INT8 against fp32, on labelled pictures.
        max_drop: Points that a task may lose, percent.
        agreements: INT8 against fp32, on pictures without labels.
    """
    margin = max_drop / 100
    compared = {agreement.task: agreement for agreement in agreements}
    cases = [_Case(score, compared.get(score.task), margin) for score in found]
    passed = holm([case.pass_p for case in cases])
    failed = holm([case.fail_p for case in cases])
    return tuple(
        case.verdict(below, above) for case, below, above in zip(cases, passed, failed, strict=True)
    )


def together(verdicts: Sequence[Verdict]) -> GateOutcome:
    """Return the outcome of all tasks: one that fails fails them all, and all must pass."""
    outcomes = {verdict.outcome for verdict in verdicts}
    if "fail" in outcomes:
        return "fail"
    return "undecided" if "undecided" in outcomes else "pass"


def holm(values: Sequence[float], error: float = ERROR) -> list[tuple[bool, float]]:
    """Return of each p-value whether it is shown, and the level that it was compared with."""
    found = [(False, error)] * len(values)
    shown, rank = True, 0
    for index in sorted(range(len(values)), key=values.__getitem__):
        level = error / (len(values) - rank)
        shown = shown and values[index] < level
        found[index] = (shown, level)
        rank += shown
    return found


def check_enough(
    pictures: Mapping[str, int], max_drop: float, unlabelled: Mapping[str, int] | None = None
) -> str | None:
    """Refuse far too few pictures, before anything is measured on them.

    Args:
        pictures: How many labelled ones each task is judged by.
        max_drop: Points that a task may lose, percent.
        unlabelled: How many without labels there are for some tasks.

    Returns:
        What is to be said where not even answers that are all the same would pass; else None.

    Raises:
        CalibrationError: It would take more than `_FAR` times as many pictures to pass so.
    """
    check_judged(pictures)
    same = [TaskScore(task, count, 1.0, 0.0, 1.0, 0.0, 0, 0) for task, count in pictures.items()]
    agree = [Agreement(task, count, 0) for task, count in (unlabelled or {}).items()]
    short = [each for each in judge(same, max_drop, agree) if each.outcome != "pass"]
    if not short:
        return None
    worst = min(short, key=lambda verdict: verdict.pictures)
    shown = min(worst.most_drop, math.inf if worst.most_changed is None else worst.most_changed)
    finding = (
        f"task {worst.task!r} has {worst.pictures} pictures to judge by, too few to pass with "
        f"--max-drop {max_drop:g} unless INT8 wins some: even if it changed none of the answers, "
        f"it could lose up to {shown:.2g} points. Expected {worst.needed or 'many more'} or more: "
        "add pictures, or give --unlabelled FOLDER or a larger --max-drop"
    )
    if worst.needed is None or worst.needed > _FAR * worst.pictures:
        msg = f"{finding}, or --accept-undecided to have the graph without an answer."
        raise CalibrationError(msg)
    return f"{finding}."


def would_pass(found: Sequence[TaskScore], max_drop: float, pictures: Mapping[str, int]) -> bool:
    """Tell whether the rates seen on some pictures would pass on other numbers of pictures.

    Args:
        found: INT8 against fp32, on pictures that are not judged by.
        max_drop: Points that a task may lose, percent.
        pictures: How many each task will be judged by.
    """
    margin = max_drop / 100
    values = [
        paired_tests.p_value_below(
            Counts(score.pictures, score.lost, score.won).scaled(pictures[score.task]), margin
        )
        for score in found
    ]
    return all(score.finite for score in found) and all(shown for shown, _ in holm(values))


def check_judged(pictures: Mapping[str, int]) -> None:
    """Refuse to judge by next to nothing.

    Raises:
        CalibrationError: A task has fewer pictures than `FEWEST_JUDGED`.
    """
    for task, count in pictures.items():
        if count < FEWEST_JUDGED:
            msg = (
                f"task {task!r} has {count} pictures to judge by, expected {FEWEST_JUDGED} or more "
                "(some hundred are usual). Add some, or raise --validation."
            )
            raise CalibrationError(msg)


@dataclass(frozen=True)
class _Case:
    """One task's counts, and what may be lost (0 to 1)."""

    score: TaskScore
    agreement: Agreement | None
    margin: float

    @property
    def counts(self) -> Counts:
        return Counts(self.score.pictures, self.score.lost, self.score.won)

    @property
    def ways(self) -> int:
        """In how many ways it may pass: the error is shared out among them."""
        return 1 if self.agreement is None else 2

    @property
    def pass_p(self) -> float:
        if not self.score.finite:
            return 1.0
        values = [paired_tests.p_value_below(self.counts, self.margin)]
        if self.agreement is not None:
            changed, pictures = self.agreement.changed, self.agreement.pictures
            values.append(paired_tests.rarer(changed, pictures, self.margin))
        return min(1.0, self.ways * min(values))

    @property
    def fail_p(self) -> float:
        return paired_tests.p_value_above(self.counts, self.margin) if self.score.finite else 0.0

    def verdict(self, passed: tuple[bool, float], failed: tuple[bool, float]) -> Verdict:
        level = passed[1] / self.ways
        outcome: GateOutcome = "fail" if failed[0] else "pass" if passed[0] else "undecided"
        score, compared = self.score, self.agreement
        most_changed = None
        if compared is not None:
            most_changed = 100 * paired_tests.most_frequent(
                compared.changed, compared.pictures, level
            )
        return Verdict(
            score.task,
            outcome,
            score.pictures,
            score.lost,
            score.won,
            score.drop,
            100 * paired_tests.lower_bound(self.counts, failed[1]),
            100 * paired_tests.upper_bound(self.counts, level),
            paired_tests.mcnemar(score.lost, score.won),
            0 if compared is None else compared.pictures,
            0 if compared is None else compared.changed,
            most_changed,
            self._needed(level, failed[1]) if outcome == "undecided" else None,
            score.finite,
        )

    def _needed(self, pass_level: float, fail_level: float) -> int | None:
        """Return how many pictures would decide if answers changed as often as they did here.

        Where more were won than lost it is taken for chance: as many of each are expected.
        """
        pictures, lost, won = self.counts
        if lost - won >= self.margin * pictures:
            return _first(
                lambda count: (
                    paired_tests.p_value_above(_unlucky(self.counts.scaled(count), -1), self.margin)
                    < fail_level
                ),
                self.score.pictures,
            )
        if won > lost:
            lost = won = (lost + won) / 2
        expected = Counts(pictures, lost, won)
        return _first(
            lambda count: (
                paired_tests.p_value_below(_unlucky(expected.scaled(count), 1), self.margin)
                < pass_level
            ),
            self.score.pictures,
        )


def _unlucky(expected: Counts, sign: int) -> Counts:
    """Return the counts with as many more lost (or fewer, with -1) as bad luck may bring."""
    pictures, lost, won = expected
    spread = math.sqrt(max(lost + won - (lost - won) ** 2 / pictures, 0))
    return Counts(pictures, max(lost + sign * _LUCK * spread, 0), won)


def _first(decides: Callable[[int], bool], start: int) -> int | None:
    """Return the least number from `start` on that decides; None if it is too large to name."""
    low, high = start, start
    while not decides(high):
        low, high = high, 2 * high
        if low > MOST_NEEDED:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if decides(middle) else (middle, high)
    return high

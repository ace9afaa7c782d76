"""The exact search: of all combinations, those that nothing beats in both time and accuracy.

The time of a combination is not a sum over its tasks, as forms share work: the source, the one
network that fused deltas of equal shape become, the pooling that readouts read. So a form may
belong to groups. The first member of a group brings the group's own time, every member its own.
With the set of groups fixed, time and accuracy are sums, and tasks are added one by one to a
frontier of partial combinations (dynamic programming). All sets of groups together hold every
combination.

Some combinations have a time of their own, such as a measured one. They are taken out of the space,
which leaves smaller spaces without them, and join the frontier with that time.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

Choice = tuple[int, ...]
"""Which option each task takes, by its number."""


@dataclass(frozen=True)
class Option:
    """One form of a task, as the search sees it.

    Attributes:
        accuracy: Its accuracy.
        ms: Time that it adds by itself, 0 or more.
        groups: Groups whose times it needs too.
    """

    accuracy: float
    ms: float
    groups: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Space:
    """What may be combined.

    Attributes:
        base_ms: Time of every combination.
        groups_ms: Time of each group, once, 0 or more.
        tasks: The options of each task, one or more.
    """

    base_ms: float
    groups_ms: Mapping[str, float] = field(hash=False)
    tasks: tuple[tuple[Option, ...], ...]

    def ms(self, choice: Choice) -> float:
        """Return the time of a combination."""
        taken = [options[number] for options, number in zip(self.tasks, choice, strict=True)]
        groups = frozenset[str]().union(*(option.groups for option in taken))
        own = sum(option.ms for option in taken)
        return self.base_ms + sum(self.groups_ms[group] for group in sorted(groups)) + own

    def accuracy(self, choice: Choice) -> float:
        """Return the accuracies' sum."""
        return sum(
            options[number].accuracy for options, number in zip(self.tasks, choice, strict=True)
        )


@dataclass(frozen=True)
class Point:
    """One combination of the frontier.

    Attributes:
        ms: Its time.
        accuracy: The accuracies' sum.
        choice: The options taken.
    """

    ms: float
    accuracy: float
    choice: Choice


def find_frontier(
    space: Space, known_ms: Mapping[Choice, float] | None = None, *, only_known: bool = False
) -> list[Point]:
    """Return the combinations that no other one beats, the fastest first.

    Of two with the same time and accuracy one is returned.

    Args:
        space: What may be combined.
        known_ms: Combinations whose time is known otherwise than by the space.
        only_known: Whether there are no others.
    """
    known = dict(known_ms or {})
    found = [Point(ms, space.accuracy(choice), choice) for choice, ms in known.items()]
    if not only_known:
        free = [tuple(range(len(options))) for options in space.tasks]
        for part in _without(free, known):
            found += _search(space, part)
    return _pareto(found)


def best_within(frontier: Sequence[Point], budget_ms: float) -> Point | None:
    """Return the most accurate of a frontier that fits; None where nothing does."""
    fitting = [point for point in frontier if point.ms <= budget_ms]
    return fitting[-1] if fitting else None


def _without(
    free: Sequence[tuple[int, ...]], taken_out: Iterable[Choice]
) -> list[list[tuple[int, ...]]]:
    """Cut a box of choices into boxes that hold all but some of them."""
    parts = [list(free)]
    for choice in taken_out:
        parts = [smaller for part in parts for smaller in _cut(part, choice)]
    return parts


def _cut(part: list[tuple[int, ...]], choice: Choice) -> Iterator[list[tuple[int, ...]]]:
    if any(number not in allowed for allowed, number in zip(part, choice, strict=True)):
        yield part
        return
    for place, number in enumerate(choice):
        rest = tuple(each for each in part[place] if each != number)
        if rest:
            yield [*((each,) for each in choice[:place]), rest, *part[place + 1 :]]


def _search(space: Space, part: Sequence[tuple[int, ...]]) -> Iterator[Point]:
    """Yield the frontier of a box, for each set of groups."""
    sets = {frozenset[str]()}  # of groups: every union of what options need
    for options, allowed in zip(space.tasks, part, strict=True):
        for needed in {options[number].groups for number in allowed}:
            sets |= {groups | needed for groups in sets}
    for groups in sets:
        start = space.base_ms + sum(space.groups_ms[group] for group in sorted(groups))
        points = [Point(start, 0.0, ())]
        for options, allowed in zip(space.tasks, part, strict=True):
            usable = [it for it in allowed if options[it].groups <= groups]
            points = _pareto(
                Point(
                    point.ms + options[it].ms,
                    point.accuracy + options[it].accuracy,
                    (*point.choice, it),
                )
                for point in points
                for it in usable
            )
        yield from points


def _pareto(points: Iterable[Point]) -> list[Point]:
    """Return those that none beats, by time; as their accuracy rises."""
    kept: list[Point] = []
    for point in sorted(points, key=lambda it: (it.ms, -it.accuracy)):
        if not kept or point.accuracy > kept[-1].accuracy:
            kept.append(point)
    return kept

"""What each form of a task adds to a graph, from a few graphs that are really made.

A graph of one variant tells what the source and the first of its form cost; one of two variants of
that form, what one more of it costs. Costs of combinations are composed of these, which is what the
search needs. What it finds is counted again in a graph of its own.
"""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Final

from snow_deploy.plan.search import Option, Space
from snow_export.inspect.launches import Workload

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from snow_deploy.plan.combination_graph import CountedGraph, GraphCounter
    from snow_deploy.plan.variants import PlannedTask, TaskVariant
    from snow_runtime.progress import ProgressCallback

_READOUTS: Final = "readout"
_NOTHING: Final = Workload(0, 0, 0, 0)


@dataclass(frozen=True)
class FormCost:
    """What variants of one form add.

    Attributes:
        source: What the source has to do for them: as far as they read it, or nothing.
        first: What the first one adds to that.
        more: What each further one adds; the same where no two tasks have this form.
    """

    source: Workload
    first: Workload
    more: Workload


@dataclass(frozen=True)
class FormCosts:
    """What combinations are composed of.

    The source is run as far as the form that reads most of it.

    Attributes:
        forms: The costs by form.
    """

    forms: Mapping[str, FormCost]

    def compose(self, taken: Sequence[str]) -> Workload:
        """Return what a run of one variant of each of these forms has to do."""
        costs = [self.forms[form] for form in taken]
        whole = _most([_NOTHING, *(cost.source for cost in costs)])
        for number, cost in enumerate(costs):
            whole += cost.more if taken[number] in taken[:number] else cost.first
        return whole

    def space(
        self,
        forms: Sequence[Sequence[str]],
        accuracies: Sequence[Sequence[float]],
        predict_ms: Callable[[Workload], float],
    ) -> Space:
        """Return what the search looks through; its times are those of what `compose` returns.

        Args:
            forms: The form of each task's variants.
            accuracies: The accuracy of each.
            predict_ms: Function that predicts a workload's time, in milliseconds; a linear one.
        """
        groups_ms, needed = {}, {}
        levels = sorted({cost.source for cost in self.forms.values()} | {_NOTHING}, key=_size)
        for number, (less, level) in enumerate(itertools.pairwise(levels)):
            groups_ms[f"source {number}"] = predict_ms(level - less)  # it goes on from the last
        for form, cost in self.forms.items():
            groups_ms[form] = predict_ms(cost.first - cost.more)
            reads = {f"source {number}" for number in range(levels.index(cost.source))}
            needed[form] = frozenset({form, *reads})
        more_ms = {form: predict_ms(cost.more) for form, cost in self.forms.items()}
        return Space(
            0.0,
            groups_ms,
            tuple(
                tuple(
                    Option(accuracy, more_ms[form], needed[form])
                    for accuracy, form in zip(row, own, strict=True)
                )
                for own, row in zip(forms, accuracies, strict=True)
            ),
        )


def form_of(variant: TaskVariant) -> str:
    """Return a text that variants of one form share: those that are one network in a graph.

    Those are networks of equal layers but for the classes. What a classifier has no part in are its
    names and the tensors of three axes or more.
    """
    record = variant.record
    options = record.options
    if options.scheme == "readout":
        return _READOUTS
    shapes = {
        key: list(tensor.shape) if tensor.ndim > 2 else None for key, tensor in record.state.items()
    }
    return json.dumps([options.scheme, options.delta.subscription, shapes], sort_keys=True)


def count_forms(
    tasks: Sequence[PlannedTask],
    counter: GraphCounter,
    progress: ProgressCallback | None = None,
) -> FormCosts:
    """Count every form that the tasks have.

    Raises:
        ExportError: A graph cannot be made.
        EngineError: A graph cannot be compiled.
    """
    by_form: dict[str, list[TaskVariant]] = {}
    for task in tasks:
        first_of = {form_of(variant): variant for variant in reversed(task.variants)}
        for form, variant in first_of.items():  # two of one task are never in one graph
            by_form.setdefault(form, []).append(variant)
    counted: dict[str, tuple[CountedGraph, Workload | None]] = {}
    for number, (form, alike) in enumerate(by_form.items()):
        if progress is not None:
            progress("counting forms", number / len(by_form))
        records = [variant.record for variant in alike[:2]]
        pair = counter.count(records).whole if len(records) > 1 else None
        counted[form] = counter.count(records[:1]), pair
    costs = {form: _cost(*found) for form, found in counted.items()}
    return FormCosts(_nested(costs))


def _cost(single: CountedGraph, pair: Workload | None) -> FormCost:
    """Take a form's costs apart; none is negative, and one more costs no more than the first."""
    first = _most([single.whole - single.source, _NOTHING])
    if pair is None:
        return FormCost(single.source, first, first)
    return FormCost(single.source, first, _least(first, _most([pair - single.whole, _NOTHING])))


def _nested(costs: Mapping[str, FormCost]) -> dict[str, FormCost]:
    """Make what forms read of the source parts of each other: the larger has no figure below."""
    reached, found = _NOTHING, {}
    for form, cost in sorted(costs.items(), key=lambda it: _size(it[1].source)):
        if cost.source.layers:
            reached = _most([reached, cost.source])
            found[form] = replace(cost, source=reached)
        else:
            found[form] = cost
    return found


def _size(workload: Workload) -> tuple[float, ...]:
    return workload.macs, workload.layers, workload.values, workload.weights


def _most(several: Iterable[Workload]) -> Workload:
    """Return the largest of each figure."""
    listed = [*several]
    return Workload(*(max(getattr(it, each.name) for it in listed) for each in fields(Workload)))


def _least(one: Workload, other: Workload) -> Workload:
    return Workload(*(min(getattr(it, each.name) for it in (one, other)) for each in fields(one)))

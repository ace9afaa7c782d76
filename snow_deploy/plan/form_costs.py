"""What each form of a task adds to a graph, from a few graphs that are really made.

A graph of one variant tells what the source and the first of its form cost; one of two variants of
that form, what one more of it costs. Costs of combinations are composed of these, which is what the
search needs. What it finds is counted again in a graph of its own.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Final

from snow_deploy.plan.search import Option, Space
from snow_export.inspect.launches import Workload

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from snow_deploy.plan.combination_graph import CountedGraph, GraphCounter
    from snow_deploy.plan.variants import PlannedTask, Variant
    from snow_runtime.progress import ProgressCallback

_SOURCE: Final = "source"  # the group of all that reads it; no form is called so
_READOUTS: Final = "readout"
_NOTHING: Final = Workload(0, 0, 0, 0)


@dataclass(frozen=True)
class FormCost:
    """What variants of one form add.

    Attributes:
        reads_source: Whether they need the source in the graph.
        first: What the first one adds, beside the source.
        more: What each further one adds; the same where no two tasks have this form.
    """

    reads_source: bool
    first: Workload
    more: Workload


@dataclass(frozen=True)
class FormCosts:
    """What combinations are composed of.

    Attributes:
        source: What the source has to do.
        forms: The costs by form.
    """

    source: Workload
    forms: Mapping[str, FormCost]

    def compose(self, taken: Sequence[str]) -> Workload:
        """Return what a run of one variant of each of these forms has to do."""
        costs = [self.forms[form] for form in taken]
        whole = self.source if any(cost.reads_source for cost in costs) else _NOTHING
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
        groups_ms = {_SOURCE: predict_ms(self.source)}
        needed = {}
        for form, cost in self.forms.items():
            groups_ms[form] = predict_ms(cost.first - cost.more)
            needed[form] = frozenset({_SOURCE, form} if cost.reads_source else {form})
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


def form_of(variant: Variant) -> str:
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
    by_form: dict[str, list[Variant]] = {}
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
    source = _most(single.source for single, _ in counted.values())
    return FormCosts(source, {form: _cost(*found, source) for form, found in counted.items()})


def _cost(single: CountedGraph, pair: Workload | None, source: Workload) -> FormCost:
    """Take a form's costs apart; none is negative, and one more costs no more than the first."""
    reads_source = single.source.layers > 0
    first = _most([single.whole - (source if reads_source else _NOTHING), _NOTHING])
    if pair is None:
        return FormCost(reads_source, first, first)
    return FormCost(reads_source, first, _least(first, _most([pair - single.whole, _NOTHING])))


def _most(several: Iterable[Workload]) -> Workload:
    """Return the largest of each figure."""
    listed = [*several]
    return Workload(*(max(getattr(it, each.name) for it in listed) for each in fields(Workload)))


def _least(one: Workload, other: Workload) -> Workload:
    return Workload(*(min(getattr(it, each.name) for it in (one, other)) for each in fields(one)))

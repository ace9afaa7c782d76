"""The figures of the paper's statements, from printed figures and from our stored tables."""

from __future__ import annotations

from dataclasses import replace
from statistics import fmean
from typing import TYPE_CHECKING, Final

from snow_deploy.paper import printed
from snow_deploy.paper.columns import accuracy_key
from snow_deploy.paper.costs import ratio

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from snow_deploy.paper.stored_tables import StoredTable, Tables

CONVERGED: Final = 60.0
"""Epoch around which all schemes converge, section 3.1."""
_COMPARED = ("fo", "fe", "ft", "mp", "pn", "snow")
_SUBSCRIPTIONS = ("pooling", "conv1x1", "attention", "all")
_SNOWS = ("snow-256", "snow", "snow-128")  # the first one that is there counts


def most_behind(accuracies: Mapping[str, Mapping[str, tuple[float, float]]], scheme: str) -> float:
    """Return by how many points a scheme's printed top-1 is at most below SNOW-256's."""
    snow = accuracies["snow-256"]
    return max(snow[data][0] - accuracies[scheme][data][0] for data in snow)


def not_worst(accuracies: Mapping[str, Mapping[str, tuple[float, float]]], scheme: str) -> float:
    """Count the data sets on which another scheme's printed top-1 is lower."""
    mine = accuracies[scheme]
    return float(
        sum(min(each[data][0] for each in accuracies.values()) < mine[data][0] for data in mine)
    )


def best_over(values: Mapping[float, tuple[float, float]], option: float) -> float:
    """Return by how many points an option's printed top-1 is above the best other one's."""
    return values[option][0] - max(v[0] for key, v in values.items() if key != option)


def printed_mean_lead(scheme: str, others: Collection[str]) -> float:
    """Return by how many points a scheme's printed mean top-1 is above the best of some others'."""
    means = {name: fmean([v[0] for v in by.values()]) for name, by in printed.ACCURACIES.items()}
    return means[scheme] - max(means[name] for name in others)


def behind_best(accuracies: Mapping[str, Mapping[str, float]], data: str) -> float:
    """Return by how much channel pooling is below the best subscription on a data set."""
    return max(each[data] for each in accuracies.values()) - accuracies["pooling"][data]


def sets_not_ahead(accuracies: Mapping[str, Mapping[str, float]], name: str, base: str) -> float:
    """Count the data sets on which one is not more accurate than another."""
    return float(sum(accuracies[name][data] <= v for data, v in accuracies[base].items()))


def share_best(accuracies: Mapping[str, Mapping[str, float]], name: str) -> float:
    """Return the share of data sets on which one is the most accurate."""
    best = [
        max(each[data] for each in accuracies.values()) == value
        for data, value in accuracies[name].items()
    ]
    return sum(best) / len(best)


def training_over(schemes: tuple[str, ...]) -> Callable[[Tables], float | None]:
    """Give SNOW's training speed over the fastest of some schemes', each at its own batch."""

    def value(tables: Tables) -> float | None:
        table = tables.get("table8")
        if table is None:
            return None
        found = [ratio(_training(table, "snow"), _training(table, each)) for each in schemes]
        known = [each for each in found if each is not None]
        return min(known) if len(known) == len(schemes) else None

    return value


def training_lead(
    schemes: tuple[str, ...], base: str, pick: Callable[[Iterable[float]], float]
) -> Callable[[Tables], float | None]:
    """Give the training speed of the slowest (`min`) or fastest of some schemes over another's."""

    def value(tables: Tables) -> float | None:
        table = tables.get("table8")
        if table is None:
            return None
        found = [ratio(_training(table, each), _training(table, base)) for each in schemes]
        known = [each for each in found if each is not None]
        return pick(known) if len(known) == len(schemes) else None

    return value


def training_over_slowest(scheme: str) -> Callable[[Tables], float | None]:
    """Give a scheme's training speed over the slowest other one's of the paper's."""

    def value(tables: Tables) -> float | None:
        table = tables.get("table8")
        if table is None:
            return None
        others = [_training(table, each) for each in _COMPARED if each != scheme]
        known = [each for each in others if each is not None]
        return ratio(_training(table, scheme), min(known)) if len(known) == len(others) else None

    return value


def training_of(scheme: str, base: str) -> Callable[[Tables], float | None]:
    """Give one scheme's training speed over another's."""
    return lambda tables: (
        ratio(_training(tables["table8"], scheme), _training(tables["table8"], base))
        if "table8" in tables
        else None
    )


def equal_memory(tables: Tables) -> float | None:
    """Return SNOW's memory of training over FT's at the same batch."""
    table = tables.get("table8")
    return table.first("peak_over_ft", batches="equal", scheme="snow") if table else None


def behind(scheme: str) -> Callable[[Tables], float | None]:
    """Give by how many points a scheme is at most below SNOW."""

    def value(tables: Tables) -> float | None:
        found = _of_schemes(tables)
        if not {"snow", scheme} <= set(found):
            return None
        snow = found["snow"]
        return 100 * max(snow[data] - found[scheme][data] for data in snow)

    return value


def exceptions(scheme: str) -> Callable[[Tables], float | None]:
    """Give the number of data sets on which another scheme is worse."""

    def value(tables: Tables) -> float | None:
        found = _of_schemes(tables)
        if not set(_COMPARED) <= set(found):
            return None
        mine = found[scheme]
        return float(sum(min(e[data] for e in found.values()) < mine[data] for data in mine))

    return value


def snow_mean_lead(others: Collection[str]) -> Callable[[Tables], float | None]:
    """Give by how many points SNOW's mean accuracy is above the best of some others'."""

    def value(tables: Tables) -> float | None:
        found = _of_schemes(tables)
        if not {"snow", *others} <= set(found):
            return None
        lead = mean_lead({name: found[name] for name in ("snow", *others)}, "snow")
        return None if lead is None else 100 * lead

    return value


def snow_not_ahead(scheme: str) -> Callable[[Tables], float | None]:
    """Give the number of data sets on which SNOW is not more accurate than a scheme."""

    def value(tables: Tables) -> float | None:
        found = _of_schemes(tables)
        return sets_not_ahead(found, "snow", scheme) if {"snow", scheme} <= set(found) else None

    return value


def converged(tables: Tables) -> float | None:
    """Return the epoch at which the last scheme has converged on the first data set.

    None where the runs are not longer than the paper's figure: they could not tell otherwise.
    """
    table = tables.get("figure6")
    if table is None or not table.rows or float(table.facts.get("epochs") or 0) <= CONVERGED:
        return None
    rows = table.pick(data=table.rows[0]["data"])
    names = {str(row["scheme"]).partition("-")[0] for row in rows}
    if not set(_COMPARED) <= names:
        return None
    return max(float(row["converged_epoch"]) for row in rows)


def sensitivity(
    option: str, best: str, compared: Sequence[str]
) -> Callable[[Tables], float | None]:
    """Give by how many points one value of Table 4 is above the best other one.

    Args:
        option: What is changed.
        best: The value.
        compared: All values that the paper compares: of fewer one is the best more easily.
    """

    def value(tables: Tables) -> float | None:
        table = tables.get("table4")
        rows = {} if table is None else {r["value"]: r["mean"] for r in table.pick(option=option)}
        if not set(compared) <= set(rows):
            return None
        return 100 * float(rows[best] - max(v for name, v in rows.items() if name != best))

    return value


def serving_of(
    scheme: str, others: tuple[str, ...], pick: Callable[[Iterable[float]], float] = max
) -> Callable[[Tables], float | None]:
    """Give one scheme's serving speed over others', at the largest batch that was measured."""
    return lambda tables: _over_rest(
        _at_largest_batch(tables), "images_per_s", scheme, pick, others=others
    )


def parameters_of(
    scheme: str, others: tuple[str, ...], pick: Callable[[Iterable[float]], float] = max
) -> Callable[[Tables], float | None]:
    """Give one scheme's parameters over the most (`max`) or fewest (`min`) of some others'."""
    return lambda tables: _over_rest(
        tables.get("table5"), "parameters_millions", scheme, pick, others=others
    )


def serving_over_rest(
    scheme: str, pick: Callable[[Iterable[float]], float]
) -> Callable[[Tables], float | None]:
    """Give one scheme's serving speed over the fastest (`max`) or slowest (`min`) other one's."""
    return lambda tables: _over_rest(
        _at_largest_batch(tables), "images_per_s", scheme, pick, others=_rest(scheme)
    )


def parameters_over_rest(
    scheme: str, pick: Callable[[Iterable[float]], float], without: tuple[str, ...] = ()
) -> Callable[[Tables], float | None]:
    """Give one scheme's parameters over the most (`max`) or fewest (`min`) of the other ones."""
    return lambda tables: _over_rest(
        tables.get("table5"), "parameters_millions", scheme, pick, others=_rest(scheme, *without)
    )


def pooling_over_fewest(tables: Tables) -> float | None:
    """Return channel pooling's parameters over the fewest of the other subscriptions."""
    others = tuple(name for name in _SUBSCRIPTIONS if name != "pooling")
    return _over_rest(
        tables.get("table6"),
        "parameters_millions",
        "pooling",
        min,
        others=others,
        label="subscription",
    )


def stabilised(tables: Tables) -> float | None:
    """Return how many channels are new in the last epoch, over those in the first."""
    table = tables.get("figure5")
    if table is None or len(table.rows) < 2:
        return None
    rows = table.pick(data=table.rows[0]["data"])
    return ratio(float(rows[-1]["all_changed_share"]), float(rows[0]["all_changed_share"]))


def pooling_best(tables: Tables) -> float | None:
    """Return the share of data sets on which channel pooling is the most accurate subscription."""
    found = _of_subscriptions(tables)
    return share_best(found, "pooling") if set(_SUBSCRIPTIONS) <= set(found) else None


def mean_lead(accuracies: Mapping[str, Mapping[str, float]], name: str) -> float | None:
    """Return by how much one's mean accuracy is above the best other one's."""
    means = {each: fmean(by_data.values()) for each, by_data in accuracies.items() if by_data}
    others = [value for each, value in means.items() if each != name]
    return means[name] - max(others) if name in means and others else None


def sets_ahead(accuracies: Mapping[str, Mapping[str, float]], name: str, base: str) -> float | None:
    """Count the data sets on which one is more accurate than another."""
    if not accuracies.get(name) or not accuracies.get(base):
        return None
    return float(sum(accuracies[name][data] > v for data, v in accuracies[base].items()))


def pooling_mean_lead(tables: Tables) -> float | None:
    """Return by how many points channel pooling's mean is above the best other one's."""
    found = _of_subscriptions(tables)
    lead = mean_lead(found, "pooling") if set(_SUBSCRIPTIONS) <= set(found) else None
    return None if lead is None else 100 * lead


def pooling_behind_on(paper_data: str) -> Callable[[Tables], float | None]:
    """Give by how many points channel pooling is below the best on one of the paper's data sets."""

    def value(tables: Tables) -> float | None:
        found, table = _of_subscriptions(tables), tables.get("table6")
        specs = dict(table.facts.get("data") or {}) if table else {}
        name = next((n for n, spec in specs.items() if printed.dataset(spec) == paper_data), None)
        if name is None or not set(_SUBSCRIPTIONS) <= set(found):
            return None
        return 100 * behind_best(found, name)

    return value


def subscription_ahead(name: str, base: str) -> Callable[[Tables], float | None]:
    """Give the number of data sets on which one subscription is more accurate than another."""
    return lambda tables: sets_ahead(_of_subscriptions(tables), name, base)


def conv_behind(tables: Tables) -> float | None:
    """Return by how many points the 1x1 convolution is at most below channel pooling."""
    found = _of_subscriptions(tables)
    if not found.get("pooling") or not found.get("conv1x1"):
        return None
    return 100 * max(found["pooling"][data] - v for data, v in found["conv1x1"].items())


def pooling_over_attention(tables: Tables) -> float | None:
    """Return channel pooling's serving speed over attention's."""
    return _over(tables.get("table6"), "images_per_s", "pooling", "attention", "subscription")


def fewer_parameters(tables: Tables) -> float | None:
    """Return by how many percent channel pooling's deltas are smaller than attention's."""
    key, names = "parameters_millions", ("pooling", "attention")
    over = _over(tables.get("table6"), key, *names, "subscription")
    return None if over is None else 100 * (1 - over)


def _training(table: StoredTable, scheme: str) -> float | None:
    """Return a scheme's training speed at its own batch, else at the batch that all have."""
    names = _SNOWS if scheme == "snow" else (scheme,)
    for batches in ("own", "equal"):
        for name in names:
            found = table.first("images_per_s", batches=batches, scheme=name)
            if found is not None:
                return found
    return None


def _over(
    table: StoredTable | None, key: str, name: str, base: str, label: str = "scheme"
) -> float | None:
    if table is None:
        return None
    return ratio(table.first(key, **{label: name}), table.first(key, **{label: base}))


def _over_rest(
    table: StoredTable | None,
    key: str,
    name: str,
    pick: Callable[[Iterable[float]], float],
    *,
    others: tuple[str, ...],
    label: str = "scheme",
) -> float | None:
    """Return one row's figure over the largest or smallest of others'; None if one is missing."""
    mine = table.first(key, **{label: name}) if table else None
    if table is None or mine is None:
        return None
    found = [table.first(key, **{label: each}) for each in others]
    known = [each for each in found if each is not None]
    return ratio(mine, pick(known)) if len(known) == len(found) else None


def _rest(*without: str) -> tuple[str, ...]:
    """Return the schemes that the paper compares, without some."""
    return tuple(name for name in _COMPARED if name not in without)


def _at_largest_batch(tables: Tables) -> StoredTable | None:
    """Return Table 5's rows of the largest batch, where throughput is what is asked for."""
    table = tables.get("table5")
    if table is None:
        return None
    largest = max((row.get("batch") or 0 for row in table.rows), default=0)
    rows = [row for row in table.rows if (row.get("batch") or 0) == largest]
    return replace(table, rows=rows)


def _of_schemes(tables: Tables) -> dict[str, dict[str, float]]:
    """Return Table 7's accuracies by scheme and data set; of two SNOWs those of SNOW-256."""
    found = _accuracies(tables.get("table7"))
    snow = next((found[name] for name in _SNOWS if name in found), None)
    others = {name: by for name, by in found.items() if name not in _SNOWS}
    return others if snow is None else {**others, "snow": snow}


def _of_subscriptions(tables: Tables) -> dict[str, dict[str, float]]:
    return _accuracies(tables.get("table6"), "subscription")


def _accuracies(table: StoredTable | None, label: str = "scheme") -> dict[str, dict[str, float]]:
    """Return the accuracies, 0 to 1, by row and data set; without LF, whose are of one network."""
    if table is None:
        return {}
    data = list(table.facts.get("data") or [])
    rows = [row for row in table.rows if row[label] != "lf"]
    return {
        row[label]: {name: float(row[accuracy_key(name)]) for name in data}
        for row in rows
        if all(row.get(accuracy_key(name)) is not None for name in data)
    }

"""The forms in which a task was trained: read from stores, and checked to be comparable."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from snow_deploy.errors import PlanError
from snow_deploy.plan.accuracy import measured_split, stored_accuracies
from snow_deploy.stages.export_request import told_apart
from snow_deploy.training.store import Store
from snow_runtime.errors import ManifestError
from snow_runtime.graph.task_name import check_task_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from snow_deploy.plan.accuracy import Accuracy, Basis
    from snow_deploy.training.task_record import TaskRecord
    from snow_runtime.graph.data_entry import SplitEntry


@dataclass(frozen=True)
class TaskVariant:
    """One form of a task, trained.

    Attributes:
        name: Name as it was given, `TASK` or `STORE/TASK`; it tells the variants apart.
        record: Its stored task.
        accuracies: What is on file of its accuracy, by what it rests on.
    """

    name: str
    record: TaskRecord
    accuracies: Mapping[Basis, Accuracy]

    @property
    def form(self) -> str:
        """What it is, in a few words."""
        options = self.record.options
        delta = options.delta
        if options.scheme == "fe":
            return f"fe, width 1/{delta.width_divisor}"
        if options.scheme != "snow":
            return options.scheme
        counts = delta.subscription in {"pooling", "conv1x1"}
        parts = [
            f"snow, width 1/{delta.width_divisor}",
            f"k 1/{delta.k_divisor}" if counts else None,
            None if delta.subscription == "pooling" else f"by {delta.subscription}",
            None if delta.blocks is None else f"blocks {delta.blocks}",
            None if delta.from_stage is None else f"from stage {delta.from_stage}",
            None if delta.classifier_reads == "last" else f"reads {delta.classifier_reads}",
        ]
        return ", ".join(filter(None, parts))


@dataclass(frozen=True)
class PlannedTask:
    """One task, and the variants that it may be answered by.

    Attributes:
        name: Name of the task.
        variants: Its variants, one or more.
    """

    name: str
    variants: tuple[TaskVariant, ...]


@dataclass(frozen=True)
class Candidates:
    """What may be combined.

    Attributes:
        store: A store that holds the source of all variants.
        source_sha256: The source's fingerprint.
        tasks: The tasks, by the order in which they were given.
        notes: What a reader should know of their comparability.
    """

    store: Store
    source_sha256: str
    tasks: tuple[PlannedTask, ...]
    notes: tuple[str, ...] = ()


def read_candidates(root: Path, given: Sequence[str] = (), basis: Basis = "held-out") -> Candidates:
    """Read the tasks that are named, or all of a store.

    Args:
        root: The store of variants that name none.
        given: Tasks, each `NAME=VARIANT,VARIANT…` with variants `TASK` or `STORE/TASK`; `NAME`
            alone is a task of one variant. None are all tasks of the store, where those of the same
            labels and pictures are variants of one.
        basis: What accuracies are compared by.

    Raises:
        PlanError: They cannot be compared, or combined in one graph.
        StoreError: A store or a task is missing or damaged.
    """
    if given:
        named = [_parse(text) for text in given]
        _refuse_twice([name for name, _ in named], "the task", "its variants after one --task")
        everything = [each for _, variants in named for each in variants]
        _refuse_twice(everything, "the variant", "it for one task")
        tasks = [PlannedTask(name, tuple(_read(root, it) for it in of)) for name, of in named]
    else:
        tasks = _grouped([_read(root, name) for name in Store(root).tasks()])
        if not tasks:
            msg = f"the store {root} has no tasks to plan. Train some, or name another --store."
            raise PlanError(msg)
    every = [variant for task in tasks for variant in task.variants]
    _check_one_graph(every)
    notes = [note for task in tasks for note in _check_comparable(task, basis)]
    store = Store(_place(root, every[0].name)[0])
    return Candidates(store, every[0].record.source_sha256, tuple(tasks), tuple(notes))


def _parse(text: str) -> tuple[str, list[str]]:
    name, equals, listed = text.partition("=")
    variants = [part.strip() for part in listed.split(",")] if equals else [name]
    if not equals:
        name = name.rpartition("/")[2]
    try:
        check_task_name(name)
        for each in variants:
            check_task_name(each.rpartition("/")[2])
    except ManifestError as error:
        msg = (
            f"--task {text} is not understood: {error} Write NAME=VARIANT,VARIANT with tasks of "
            "the store, or STORE/TASK for those of another."
        )
        raise PlanError(msg) from error
    return name, variants


def _place(root: Path, variant: str) -> tuple[Path, str]:
    store, slash, name = variant.rpartition("/")
    return (Path(store) if slash and store else Path("/") if slash else root), name


def _read(root: Path, variant: str) -> TaskVariant:
    folder, name = _place(root, variant)
    record = Store(folder).load_task(name)
    return TaskVariant(variant, record, stored_accuracies(record))


def _grouped(variants: Iterable[TaskVariant]) -> list[PlannedTask]:
    """Take variants of the same labels and pictures for one task, called by what they share."""
    groups: dict[object, list[TaskVariant]] = {}
    for variant in variants:
        record = variant.record
        known = record.data_sha256 or variant.name
        groups.setdefault((record.labels, record.answers, known), []).append(variant)
    by_labels: dict[tuple[str, ...], list[TaskVariant]] = {}
    for first, *_ in groups.values():
        by_labels.setdefault(first.record.labels, []).append(first)
    for alike in by_labels.values():
        if len(alike) > 1:
            both = " and ".join(repr(each.name) for each in alike[:2])
            msg = (
                f"the tasks {both} have the same labels, but not the same pictures in the same "
                "splits: they may be one task or several. Say so with --task NAME=VARIANT,VARIANT "
                "for each."
            )
            raise PlanError(msg)
    names = [_shared_name(group) for group in groups.values()]
    return [
        PlannedTask(name if names.count(name) == 1 else group[0].name, tuple(group))
        for name, group in zip(names, groups.values(), strict=True)
    ]


def _shared_name(group: Sequence[TaskVariant]) -> str:
    """Return what all names begin with, up to a dash or an underscore; else the first name."""
    names = [variant.name for variant in group]
    if len(names) == 1:
        return names[0]
    shared = ""
    for letters in zip(*names, strict=False):
        if len(set(letters)) > 1:
            break
        shared += letters[0]
    whole = shared in names
    cut = max(shared.rfind("-"), shared.rfind("_"))
    return shared if whole else shared[:cut] if cut > 0 else names[0]


def _check_one_graph(variants: Sequence[TaskVariant]) -> None:
    """Refuse what cannot be in one graph: another source, or another size of picture."""
    first = variants[0].record
    for variant in variants[1:]:
        other = variant.record
        if other.source_sha256 != first.source_sha256:
            msg = (
                f"{variants[0].name!r} was trained on the source {first.source_sha256[:12]} and "
                f"{variant.name!r} on {other.source_sha256[:12]}; one graph has one source. Plan "
                "them apart, or train one anew on the other's source."
            )
            raise PlanError(msg)
        if other.preprocessing != first.preprocessing:
            apart = told_apart(first.preprocessing, other.preprocessing)
            msg = (
                f"{variants[0].name!r} and {variant.name!r} read pictures of {apart}; one graph "
                "has one input. Plan them apart, or train one anew with --image-size and "
                "--crop-share."
            )
            raise PlanError(msg)


def _check_comparable(task: PlannedTask, basis: Basis) -> list[str]:
    """Refuse variants whose accuracies are of other questions; return what is not known."""
    first, *others = task.variants
    for variant in task.variants:
        if basis not in variant.accuracies:
            several = variant.record.answers == "several"
            why = (
                "of tasks of several labels held-out accuracies alone compare"
                if several
                else f"it is {variant.form}, and readouts alone are cross-validated"
            )
            msg = (
                f"{variant.name!r} has no {basis} accuracy on file; {why}. Give --accuracy "
                "held-out, or leave it out of --task."
            )
            raise PlanError(msg)
    for other in others:
        mine, its = first.record, other.record
        if (mine.labels, mine.answers) != (its.labels, its.answers):
            seen = sorted(set(mine.labels) ^ set(its.labels))
            what = f"{', '.join(seen[:3])} in one only" if seen else "another order or kind"
            msg = (
                f"{first.name!r} and {other.name!r} are no variants of one task: their labels "
                f"differ ({what}). Give each a --task of its own, or train one anew."
            )
            raise PlanError(msg)
        here, there = (_compared_on(it, basis) for it in (mine, its))
        if here is not None and there is not None and here.sha256 != there.sha256:
            msg = (
                f"the accuracies of {first.name!r} and {other.name!r} cannot be compared: they "
                f"were measured on other pictures ({here.sha256[:12]}, {here.pictures} of them, "
                f"and {there.sha256[:12]}, {there.pictures}). Train one anew on the other's "
                "--data and --seed, or leave one out of --task."
            )
            raise PlanError(msg)
    unknown = [it.name for it in task.variants if _compared_on(it.record, basis) is None]
    if unknown and others:
        note = (
            f"{task.name}: which pictures {', '.join(unknown)} was measured on is not noted; its "
            "accuracy is taken to be comparable"
        )
        return [note]
    return []


def _compared_on(record: TaskRecord, basis: Basis) -> SplitEntry | None:
    return measured_split(record) if basis == "held-out" else record.splits.get("train")


def _refuse_twice(names: Sequence[str], what: str, advice: str) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        msg = f"{what} {twice[0]!r} is named twice. Name {advice}."
        raise PlanError(msg)

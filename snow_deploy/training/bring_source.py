"""Brings a source into a store, once everything that is to be trained on it has accepted it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from snow_deploy.errors import SourceError, StoreError
from snow_deploy.models.module_sources import usual_image_size
from snow_deploy.models.own_source import is_stale
from snow_deploy.models.schemes import build_network
from snow_deploy.models.source import Source
from snow_deploy.models.source_checks import check_pictures
from snow_deploy.models.weights import ReadOptions, load_weights

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from snow_deploy.models.weights import SourceWeights
    from snow_deploy.training.options import TrainOptions
    from snow_deploy.training.store import Store
    from snow_runtime.graph.image_size import ImageSize

DEFAULT_ARCHITECTURE = "resnet50"


@dataclass(frozen=True)
class SourceChoice:
    """Which source is asked for.

    Attributes:
        architecture: Torchvision's name, `timm:NAME` or `package.module:factory`; None for the
            store's, or ResNet-50.
        weights: Torchvision's name of them, or a file; None for the store's, imagenet, or those
            that a factory gives.
        reading: What a file does not say of itself.
        labels: A text file of the source's own labels, one a line.
    """

    architecture: str | None = None
    weights: str | None = None
    reading: ReadOptions = field(default_factory=ReadOptions)
    labels: Path | None = None


def bring_source(
    store: Store,
    choice: SourceChoice,
    planned: Iterable[tuple[TrainOptions, int]],
    say: Callable[[str], None] | None = None,
) -> None:
    """Bring a source into a store, or check that the one in it is the one asked for.

    Nothing is written before the source can be traced, reads pictures of the size that is asked
    for, and every network that is planned can be built on it: one that is refused leaves the store
    as it was.

    Args:
        store: Store to bring it into.
        choice: The source that is asked for.
        planned: Options of each task to be trained, and its number of classes.
        say: Callback that gets, a line at a time, what was assumed of a file; None for nobody.

    Raises:
        SourceError: The weights cannot be read, or do not serve for what is planned.
        StoreError: The store holds another source.
    """
    kept = store.source_weights() if store.has_source() else None
    if kept is not None and choice.weights is None:
        _check_kept(store, kept, choice)
        if say is not None and is_stale(kept.architecture, kept.code_sha256):
            say(
                f"the file of {kept.architecture} has changed since {store.root} took its network "
                "in; the network in the store is used as it was. Take a new --store for the new one"
            )
        if choice.labels is not None:
            store.put_source(kept.with_labels(_read_labels(choice.labels)))
        return
    known = None if kept is None else kept.architecture
    architecture = choice.architecture or known or DEFAULT_ARCHITECTURE
    planned = list(planned)
    reading = choice.reading
    if reading.image_size is None and planned:
        reading = replace(reading, image_size=planned[0][0].image_size)
    loaded = load_weights(choice.weights, architecture, reading, say)
    if choice.labels is not None:
        loaded = loaded.with_labels(_read_labels(choice.labels))
    if kept is None:
        _check_planned(store, loaded, planned)
    store.put_source(loaded)


def bring_weights(
    store: Store, weights: SourceWeights, planned: Iterable[tuple[TrainOptions, int]]
) -> None:
    """Bring a source that is at hand into a store, once what is planned can be built on it.

    Raises:
        SourceError: It does not serve for what is planned.
        StoreError: The store holds another source.
    """
    if not store.has_source():
        _check_planned(store, weights, planned)
    store.put_source(weights)


def image_size_of(store: Store, choice: SourceChoice) -> ImageSize:
    """Return the size of pictures, in pixels, that a choice of source is made for.

    Raises:
        SourceError: There is no such source.
        StoreError: The store's source cannot be read.
    """
    if store.has_source():
        return store.source_weights().image_size
    return usual_image_size(choice.architecture or DEFAULT_ARCHITECTURE)


def _check_kept(store: Store, kept: SourceWeights, choice: SourceChoice) -> None:
    """Refuse what the store's source is not, where no weights are named beside it."""
    if choice.architecture not in {None, kept.architecture}:
        msg = (
            f"{store.root} holds a {kept.architecture}, not a {choice.architecture}. Leave "
            "--source out, or choose another --store."
        )
        raise StoreError(msg)
    if choice.reading.key is not None:
        msg = (
            f"{store.root} holds a source, and --weights-key is for a file that is read anew. "
            "Leave it out, or name the file with --weights."
        )
        raise StoreError(msg)
    if choice.reading.stride_in_1x1 and not kept.stride_in_1x1:
        msg = (
            f"the source in {store.root} was taken in without --stride-in-1x1, which would make "
            "another network of it. Leave it out, or choose another --store."
        )
        raise StoreError(msg)


def _check_planned(
    store: Store, weights: SourceWeights, planned: Iterable[tuple[TrainOptions, int]]
) -> None:
    """Build everything that is to be trained, and run the source once."""
    source = Source(weights)
    built = set()
    for options, classes in planned:
        shape = (options.scheme, options.delta, options.image_size, classes)
        if shape in built:
            continue
        built.add(shape)
        check_pictures(source, options.image_size)
        if options.after is not None:
            store.load_task(options.after)  # refuses: a store without a source has no tasks
        build_network(source, classes, options)


def _read_labels(path: Path) -> list[str]:
    """Read one label a line.

    Raises:
        SourceError: The file cannot be read, or a line is empty.
    """
    try:
        labels = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        msg = f"the labels {path} cannot be read: {error}. Give a text file in UTF-8."
        raise SourceError(msg) from error
    for number, label in enumerate(labels, 1):
        if not label.strip():
            msg = f"line {number} of {path} is empty, expected a label. Give one label a line."
            raise SourceError(msg)
    return labels

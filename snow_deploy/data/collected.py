"""Labelled pictures that `snow-deploy collect pull` took from a box's collection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from snow_deploy.data.pictures import Splits, name_some
from snow_deploy.data.seeding import keyed_permutation
from snow_deploy.data.splitting import TEST_FRACTION
from snow_deploy.data.tar_index import TarSample
from snow_deploy.data.tar_pictures import MultiLabelTarPictures, TarPictures
from snow_deploy.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from snow_runtime.collection.exchange.packed import PackedFile, PackedPicture
    from snow_runtime.collection.records import CollectionQuestion

_QUESTION: Final = "question"
_MOMENT_S: Final = 10.0
"""Frames of one camera that follow each other within this time show one moment."""


def read_collected(path: Path, options: Mapping[str, str], *, seed: int = 0) -> Splits:
    """Read the pictures with a label of one question.

    A fifth of each class is drawn for the test. Frames of one moment stay on one side: those of a
    camera that follow each other within ten seconds.

    Args:
        path: The file.
        options: `question`, the name of the question; without it the file has but one.
        seed: Seed of the split.

    Raises:
        DataError: The file cannot be read or is damaged, has no such question, or a class has no
            two moments.
    """
    from snow_runtime.collection.exchange.packed import read_packed
    from snow_runtime.errors import CollectionError

    try:
        packed = read_packed(path)
    except CollectionError as error:
        raise DataError(str(error)) from error
    question = _question(packed, options)
    pictures = [each for each in packed.pictures if question.name in each.labels]
    if not pictures:
        msg = (
            f"{path} has no picture with a label of {question.name}, expected some. Label them, "
            "and pull again."
        )
        raise DataError(msg)
    places = {label: number for number, label in enumerate(question.labels)}
    sets = [_set_of(each, question, places) for each in pictures]
    moments = moments_of(pictures)
    train, test = split_moments(sets, moments, question.labels, seed=seed)
    samples = tuple(
        (path, TarSample(each.member, each.offset, each.size, _label(each, question)))
        for each in pictures
    )
    known = f"content {packed.content_sha256[:12]}, {len(set(moments))} moments"
    remarks = (f"{path} has {len(pictures)} pictures labelled with {question.name}: {known}",)
    if question.several:
        several = MultiLabelTarPictures(samples, question.labels, tuple(sets))
        return Splits(several.subset(train), None, several.subset(test), remarks=remarks)
    found = TarPictures(samples, question.labels, tuple(each[0] for each in sets))
    return Splits(found.subset(train), None, found.subset(test), remarks=remarks)


def moments_of(pictures: Sequence[PackedPicture]) -> list[int]:
    """Return a number for each picture, the same for those of one moment.

    What was imported has no moment: each such picture is one by itself.
    """
    order = sorted(range(len(pictures)), key=lambda n: (pictures[n].camera, pictures[n].taken_at))
    found, count, moment = [0] * len(pictures), 0, 0
    before: PackedPicture | None = None
    for index in order:
        each = pictures[index]
        if each.reason == "imported":
            found[index] = count = count + 1
            continue
        if (
            before is None
            or before.camera != each.camera
            or each.taken_at - before.taken_at > _MOMENT_S
        ):
            moment = count = count + 1
        found[index], before = moment, each
    return found


def split_moments(
    sets: Sequence[tuple[int, ...]], moments: Sequence[int], labels: Sequence[str], *, seed: int
) -> tuple[list[int], list[int]]:
    """Split picture indices into train and test, moments as a whole.

    The rarest label is served first: of the moments that show it, as many go to the test as make a
    fifth of its pictures, and one at least to each side.

    Args:
        sets: The labels of each picture, indices into `labels`.
        moments: The moment of each.
        labels: The name of every label.
        seed: The split depends on it and on what is given here, on nothing else.

    Returns:
        The indices of the train and of the test pictures, each ascending.

    Raises:
        DataError: A label has fewer than two moments, or the moments cannot be shared out.
    """
    members: dict[int, list[int]] = {}
    for index, moment in enumerate(moments):
        members.setdefault(moment, []).append(index)
    names = list(members)
    order = [names[n] for n in keyed_permutation(len(names), "collected", seed)]
    having = {
        number: [m for m in order if any(number in sets[index] for index in members[m])]
        for number in range(len(labels))
    }
    _check_moments({labels[number]: len(found) for number, found in having.items()})
    side: dict[int, bool] = {}  # by moment: whether it is of the test
    for number in sorted(having, key=lambda number: (len(having[number]), number)):
        counts = {m: sum(number in sets[index] for index in members[m]) for m in having[number]}
        wanted = max(1, round(sum(counts.values()) * TEST_FRACTION))
        there = sum(counts[m] for m in having[number] if side.get(m, False))
        free = [m for m in having[number] if m not in side]
        in_train = any(side.get(m) is False for m in having[number])
        for place, moment in enumerate(free):
            last = place == len(free) - 1 and not in_train
            side[moment] = there < wanted and not last
            there += counts[moment] * side[moment]
            in_train = in_train or not side[moment]
    for moment in names:  # those without any label
        side.setdefault(moment, len(side) % round(1 / TEST_FRACTION) == 0)
    parts = {part: [n for n, m in enumerate(moments) if side[m] is part] for part in (False, True)}
    _check_parts(sets, labels, parts)
    return parts[False], parts[True]


def _check_moments(numbers: Mapping[str, int]) -> None:
    few = [label for label, count in numbers.items() if count < 2]
    if few:
        msg = (
            f"The labels {name_some(few)} have no two moments, expected pictures of each that were "
            f"taken more than {_MOMENT_S:g} s apart, to train on and to measure on. Label more of "
            "them, and pull again."
        )
        raise DataError(msg)


def _check_parts(
    sets: Sequence[tuple[int, ...]], labels: Sequence[str], parts: Mapping[bool, Sequence[int]]
) -> None:
    for is_test, indices in parts.items():
        seen = np.zeros(len(labels), bool)
        for index in indices:
            seen[list(sets[index])] = True
        if not seen.all():
            lacking = [label for label, there in zip(labels, seen, strict=True) if not there]
            part = "measured" if is_test else "trained"
            msg = (
                f"No picture of {name_some(lacking)} is left to be {part} on, since pictures of "
                "one moment stay together. Label pictures of other moments, and pull again."
            )
            raise DataError(msg)


def _question(packed: PackedFile, options: Mapping[str, str]) -> CollectionQuestion:
    there = {each.name: each for each in packed.questions}
    shown = name_some(list(there)) or "none"
    name = options.get(_QUESTION)
    wrong = options.keys() - {_QUESTION}
    if name is None and len(there) == 1 and not wrong:
        return next(iter(there.values()))
    if wrong or name is None or name not in there:
        seen = ", ".join(f"{key}={value}" for key, value in options.items()) or "no question"
        msg = (
            f"{packed.path} has the questions {shown}, and {seen} was asked for, expected one of "
            f"them. Name it as collected:{packed.path}?question=NAME."
        )
        raise DataError(msg)
    return there[name]


def _set_of(
    each: PackedPicture, question: CollectionQuestion, places: Mapping[str, int]
) -> tuple[int, ...]:
    return tuple(sorted(places[label] for label in _labels(each, question)))


def _labels(each: PackedPicture, question: CollectionQuestion) -> tuple[str, ...]:
    label = each.labels[question.name]
    return (label,) if isinstance(label, str) else label or ()


def _label(each: PackedPicture, question: CollectionQuestion) -> str | tuple[str, ...]:
    return _labels(each, question) if question.several else _labels(each, question)[0]

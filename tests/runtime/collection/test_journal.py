"""The journal of labels says what a plain list of acts says, whoever acts and undoes."""

from __future__ import annotations

from tempfile import TemporaryDirectory
from typing import Any

import hypothesis.strategies as st
from hypothesis import given, settings

from snow_runtime.collection.collection import Collection
from snow_runtime.collection.records import CollectionQuestion
from tests.runtime.collection.pictures import new_picture

PEOPLE, LABELS, PICTURES = ("ann", "bo"), ("open", "shut"), 4
_label = st.tuples(
    st.just("label"),
    st.sampled_from(PEOPLE),
    st.lists(st.integers(0, PICTURES - 1), max_size=PICTURES, unique=True),
    st.sampled_from([*LABELS, None]),
)
_undo: st.SearchStrategy[Any] = st.tuples(
    st.just("undo"), st.sampled_from(PEOPLE), st.just([]), st.none()
)
_delete = st.tuples(
    st.just("delete"), st.none(), st.lists(st.integers(0, PICTURES - 1), max_size=1), st.none()
)


class Model:
    """Acts in a list; an undone one is taken out of it."""

    def __init__(self) -> None:
        self.acts: list[tuple[str, list[int], str | None]] = []
        self.gone: set[int] = set()

    def label(self, person: str, pictures: list[int], label: str | None) -> int:
        there = [each for each in pictures if each not in self.gone]
        if there:
            self.acts.append((person, there, label))
        return len(there)

    def undo(self, person: str) -> list[int] | None:
        mine = [act for act in self.acts if act[0] == person]
        if not mine:
            return None
        index = max(n for n, act in enumerate(self.acts) if act[0] == person)
        return sorted(self.acts.pop(index)[1])

    def delete(self, pictures: list[int]) -> None:
        self.gone.update(pictures)
        left = [(who, [p for p in ps if p not in self.gone], label) for who, ps, label in self.acts]
        self.acts = [act for act in left if act[1]]

    def current(self) -> dict[int, str | None]:
        found: dict[int, str | None] = {}
        for _, pictures, label in self.acts:
            found.update(dict.fromkeys(pictures, label))
        return found


@settings(max_examples=15, deadline=None)
@given(st.lists(st.one_of(_label, _label, _undo, _delete), max_size=14))
def test_labels_are_those_of_a_plain_model(
    acts: list[tuple[str, str, list[int], str | None]],
) -> None:
    model = Model()
    with TemporaryDirectory() as folder, Collection.open(folder, create=True) as kept:
        kept.database._connection.execute("PRAGMA synchronous = OFF")
        kept.add_question(CollectionQuestion("door", LABELS))
        ids = [kept.add(new_picture(number)) or 0 for number in range(PICTURES)]
        for kind, person, pictures, label in acts:
            before = kept.revision("door")
            if kind == "label":
                count = kept.label([ids[each] for each in pictures], "door", label, person)
                assert count == model.label(person, pictures, label)
                assert (kept.revision("door") > before) == (count > 0)
            elif kind == "undo":
                undone, expected = kept.undo("door", person), model.undo(person)
                assert (None if undone is None else [*undone.ids]) == (
                    None if expected is None else [ids[each] for each in expected]
                )
            else:
                kept.delete(ids=[ids[each] for each in pictures])
                model.delete(pictures)
            current = {ids[each]: label for each, label in model.current().items()}
            labelled = {each: label for each, label in current.items() if label is not None}
            assert kept.labels("door") == labelled
            assert kept.skipped("door") == current.keys() - labelled.keys()
            counts = kept.counts("door")
            assert counts.labelled == len(labelled)
            assert counts.by_label == {each: [*labelled.values()].count(each) for each in LABELS}
            waiting = {each.id for each in kept.pictures("door", labelled=False)}
            assert waiting == {ids[n] for n in range(PICTURES) if n not in model.gone} - {*current}

"""What is suggested through the page, and in which order pictures come."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from snow_runtime.app.labelling import orders
from snow_runtime.collection.collection import Collection
from snow_runtime.collection.records import CollectionQuestion
from tests.runtime.app.labelling.scenes import (
    KINDS,
    QUESTION,
    Client,
    collection_of,
    features,
    new_picture,
)

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

MANY = [number % 3 for number in range(30)]


def groups(server: Client, **given: Any) -> list[list[int]]:
    found: list[list[int]] = server.get("order", question="door", **given)["groups"]
    return found


def suggestions(server: Client, *ids: int, question: str = "door") -> list[Any]:
    found = server.get("pictures", question=question, ids=",".join(map(str, ids)))["pictures"]
    return [each["suggestion"] for each in found]


def test_pictures_come_by_time_and_by_what_was_said(tmp_path: Path) -> None:
    with collection_of(tmp_path / "c", MANY) as collection:
        server = Client(collection)
        server.give("open", [3, 4])
        server.give(None, [5])
        rest = [n for n in range(1, 31) if n not in {3, 4, 5}]
        assert groups(server, sort="oldest") == [[n] for n in rest]
        assert groups(server, sort="newest") == [[n] for n in reversed(rest)]
        assert groups(server, sort="newest", show="labelled") == [[4], [3]]
        assert groups(server, sort="useful", show="skipped") == [[5]]
        assert len(groups(server, sort="newest", show="all")) == 30


def test_neighbours_suggest_and_are_sure_where_they_agree(tmp_path: Path) -> None:
    with collection_of(tmp_path / "c", MANY) as collection:
        server = Client(collection)
        assert suggestions(server, 1, 2, 3) == [None, None, None]
        for kind, label in enumerate(KINDS):
            server.give(label, [kind + 1, kind + 4, kind + 7])
        found = suggestions(server, 10, 11, 12)
        assert [each["label"] for each in found] == list(KINDS)
        assert all(each["sure"] > 0.7 for each in found)
        assert all(each["neighbours"]["label"] == each["label"] for each in found)
        assert not any("model" in each for each in found)
        server.post("undo", {"question": "door", "by": "Ann", "entries": 3})
        assert suggestions(server, 10) == [None]


def test_the_model_suggests_what_it_answered_unless_it_was_unknown(tmp_path: Path) -> None:
    said = {"label": "half", "probability": 0.9}
    answers: list[Any] = [
        {"door": said},
        {"door": {**said, "unknown": "unlike"}},
        {"other": said},
        {"door": {"label": "ajar", "probability": 0.9}},
        {"door": {"label": "half", "probability": "high"}},
    ]
    with Collection.open(tmp_path / "c", create=True) as collection:
        collection.add_question(QUESTION)
        for number, answer in enumerate(answers):
            collection.add(new_picture(0, number, answers=answer))
        server = Client(collection)
        first, *rest = suggestions(server, 1, 2, 3, 4, 5)
        assert rest == [None] * 4
        assert first["model"] == {"label": "half", "sure": 0.9}
        assert first["label"] == "half"
        assert "neighbours" not in first
        server.give("open", [2, 3, 4, 5])
        (first,) = suggestions(server, 1)
        assert first["neighbours"]["label"] == "open"
        assert first["sure"] < 0.6  # they disagree


def test_the_most_useful_are_in_doubt_and_differ(tmp_path: Path) -> None:
    # Ten of each kind, and one that lies between the first two.
    with collection_of(tmp_path / "c", MANY) as collection:
        between = (features(0, 99) + features(1, 99)) / 2
        collection.add(new_picture(0, 99, features=between))
        server = Client(collection)
        first = groups(server)[:3]
        assert {(n - 1) % 3 for (n,) in first if n < 31} | {n for (n,) in first if n == 31}
        for kind, label in enumerate(KINDS):
            server.give(label, [kind + 1, kind + 4, kind + 7, kind + 10])
        assert groups(server)[0] == [31]
        assert sorted(n for (n,) in groups(server)) == list(range(13, 32))


def test_groups_of_the_same_are_labelled_at_once(tmp_path: Path) -> None:
    with collection_of(tmp_path / "c", [0] * 8 + [1] * 5 + [2]) as collection:
        server = Client(collection)
        found = groups(server, sort="alike")
        assert [sorted(group) for group in found] == [
            list(range(1, 9)),
            list(range(9, 14)),
            [14],
        ]
        assert server.give("open", found[0])["labelled"] == 8
        assert [sorted(group) for group in groups(server, sort="alike")] == [
            list(range(9, 14)),
            [14],
        ]


def test_pictures_that_cannot_be_compared_come_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with collection_of(tmp_path / "c", MANY[:6]) as collection:
        collection.add(new_picture(0, 50, features=None, source_sha256=""))
        other = np.ones(16, np.float16)
        collection.add(new_picture(0, 51, features=other, source_sha256="b" * 64))
        collection.add(new_picture(0, 52))  # the newest says which source counts
        server = Client(collection)
        server.give("open", [7, 8, 1])  # labelled ones without features are no neighbours
        server.give("closed", [2])
        found = server.get("order", question="door", show="all")
        assert found["without_features"] == 2
        assert {n for (n,) in found["groups"][-2:]} == {7, 8}
        assert suggestions(server, 7, 8)[0] is None
        assert suggestions(server, 4)[0]["label"] == "open"
        monkeypatch.setattr(orders, "MOST", 5)
        monkeypatch.setattr(orders, "COMPARED", 3)
        found = server.get("order", question="door", show="all")
        assert (len(found["groups"]), found["left_out"]) == (5, 4)


def test_an_empty_collection_has_an_empty_page(tmp_path: Path) -> None:
    with collection_of(tmp_path / "c", []) as collection:
        server = Client(collection)
        for sort in ("useful", "alike", "newest"):
            assert groups(server, sort=sort) == []
        assert server.get("pictures", question="door", ids="")["pictures"] == []


def test_several_labels_are_suggested_as_they_were_given(tmp_path: Path) -> None:
    with collection_of(tmp_path / "c", MANY) as collection:
        collection.add_question(CollectionQuestion("tags", ("wet", "torn"), several=True))
        server = Client(collection)
        for kind, label in enumerate((["torn", "wet"], [], ["wet"])):
            ids = [kind + 1, kind + 4, kind + 7, kind + 10]
            body = {"question": "tags", "by": "Ann"}
            body["choices"] = [{"label": label, "ids": ids}]  # type: ignore[assignment]
            assert server.post("labels", body)[0] == 200
        assert collection.labels("tags")[1] == ("wet", "torn")  # in the question's order
        found = suggestions(server, 13, 14, 15, question="tags")
        assert [each["label"] for each in found] == [["wet", "torn"], [], ["wet"]]
        assert server.get("order", question="tags")["groups"]


def test_what_was_deleted_is_not_compared_with(tmp_path: Path) -> None:
    with collection_of(tmp_path / "c", MANY) as collection:
        server = Client(collection)
        server.give("open", [1, 4])
        assert suggestions(server, 7)[0]["label"] == "open"
        collection.delete(ids=[1, 4])
        assert suggestions(server, 7) == [None]
        assert [1] not in groups(server, show="all")

"""The labelling page's server, asked by HTTP."""

from __future__ import annotations

import csv
import io
import json
import logging
import threading
import time
import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from snow_runtime.app.labelling import Labelling, LabellingServer, ServingOptions, asked
from snow_runtime.collection.records import CollectionQuestion
from snow_runtime.errors import InputError
from snow_runtime.file_lock import hold_lock
from tests.runtime.app.asking import ALL_ADDRESSES, JSON, TOKEN, ask, status
from tests.runtime.app.labelling.scenes import (
    HEIGHT,
    KINDS,
    WIDTH,
    Client,
    collection_of,
    new_picture,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from snow_runtime.collection.collection import Collection
    from tests.runtime.app.conftest import Scene

MANY = [number % 3 for number in range(30)]


@pytest.fixture
def collection(tmp_path: Path) -> Iterator[Collection]:
    with collection_of(tmp_path / "c", MANY) as made:
        yield made


@pytest.fixture
def server(collection: Collection) -> Client:
    return Client(collection)


def test_the_page_is_served_alone_with_a_token(collection: Collection) -> None:
    with LabellingServer(Labelling(collection), ServingOptions(port=0, token=TOKEN)) as served:
        bearer = {"Authorization": f"Bearer {TOKEN}"}
        assert status(served, "/label/") == 401
        assert status(served, "/label/", **bearer) == 200
        entry = ask(served, "GET", served.entry_url.removeprefix(served.url[:-1]))[0]
        assert entry.headers["Set-Cookie"].startswith("snow-page-")
        body = json.dumps({"question": "door", "by": "Ann", "entries": 1})
        assert ask(served, "POST", "/label/api/undo", body, **JSON, **bearer)[0].status == 200
    with pytest.raises(InputError, match="no token"):
        LabellingServer(Labelling(collection), ServingOptions(ALL_ADDRESSES))


def test_the_page_and_its_files_are_protected(server: Client) -> None:
    for path in ("/", "/label"):
        answer = server.ask("GET", path)
        assert (answer.status, answer.headers["location"]) == (307, "label/")
    assert server.status("/label/", host="elsewhere.example") == 403
    assert server.status("/label/", sec_fetch_site="cross-site") == 403
    for path, kind in (
        ("/label/", "text/html"),
        ("/label/static/label.js", "text/javascript"),
        ("/label/static/label.css", "text/css"),
        ("/label/static/base.css", "text/css"),
        ("/label/static/icon.svg", "image/svg+xml"),
        ("/label/api/state", "application/json"),
    ):
        answer = server.ask("GET", path)
        assert answer.status == 200
        assert answer.data
        assert answer.headers["content-type"].startswith(kind)
        assert "script-src 'self';" in answer.headers["content-security-policy"]
        assert answer.headers["cache-control"] == "no-store"
    for path in ("/label/static/nothing.js", "/label/static/..%2Flabelling.py", "/other"):
        assert server.status(path) == 404
    html = server.ask("GET", "/label/").data.decode()
    assert "<script>" not in html
    assert "style=" not in html


def test_the_live_page_carries_it_with_its_token(scene: Scene, collection: Collection) -> None:
    with scene.page(token=TOKEN, labelling=Labelling(collection)) as page:
        for path in ("/label/", "/label/api/state", "/label/picture/1.jpg"):
            assert status(page, path) == 401
            assert status(page, path, Authorization=f"Bearer {TOKEN}") == 200
        body = json.dumps({"question": "door", "by": "Eve", "choices": []})
        assert ask(page, "POST", "/label/api/labels", body, **JSON)[0].status == 401
        bearer = {"Authorization": f"Bearer {TOKEN}", **JSON}
        foreign = {**bearer, "Origin": "http://elsewhere.example"}
        assert ask(page, "POST", "/label/api/labels", body, **foreign)[0].status == 403
        assert b"label/" in ask(page, "GET", "/", Authorization=f"Bearer {TOKEN}")[1]
    with scene.page() as page:
        assert status(page, "/label/") == 404
        assert b'href="label/"' not in ask(page, "GET", "/")[1]


def test_pictures_are_scaled_down_and_kept_by_browsers(tmp_path: Path) -> None:
    with collection_of(tmp_path / "c", [0]) as collection:
        large = io.BytesIO()
        Image.fromarray(np.full((900, 1600, 3), (200, 30, 30), np.uint8)).save(large, "JPEG")
        new = new_picture(0, 99)
        collection.add(type(new)(large.getvalue(), "gate"))
        server = Client(collection)
        sizes = {}
        for wanted in (1, 300, 320, 500, 999_999):
            answer = server.ask("GET", f"/label/picture/2.jpg?width={wanted}")
            sizes[wanted] = Image.open(io.BytesIO(answer.data)).size
            assert answer.headers["cache-control"] == "private, no-cache"
        assert sizes == {
            1: (160, 90),
            300: (320, 180),
            320: (320, 180),
            500: (640, 360),
            999_999: (1280, 720),
        }
        tag = answer.headers["etag"]
        again = server.ask("GET", "/label/picture/2.jpg?width=1280", if_none_match=tag)
        assert (again.status, again.data) == (304, b"")
        other = server.ask("GET", "/label/picture/1.jpg?width=1280", if_none_match=tag)
        assert Image.open(io.BytesIO(other.data)).size == (WIDTH, HEIGHT)
        for path in ("3.jpg", "0.jpg", f"{10**30}.jpg", "-1.jpg", "x.jpg"):
            assert server.status(f"/label/picture/{path}") == 404
        assert server.status("/label/picture/1.jpg?width=x") == 400
        collection.delete(ids=[2])
        assert server.status("/label/picture/2.jpg", if_none_match=tag) == 404


def test_labels_are_given_and_taken_back(server: Client, collection: Collection) -> None:
    first = server.give("open", [1, 2])
    assert (first["labelled"], first["entries"], first["conflicts"]) == (2, 1, [])
    server.give(None, [3])
    assert (collection.labels("door"), collection.skipped("door")) == ({1: "open", 2: "open"}, {3})
    server.give("half", [4], by="Bea")
    shown = {
        each["id"]: each
        for each in server.get("pictures", question="door", ids="1,3,4,5,77")["pictures"]
    }
    assert [(shown[i].get("label", "-"), shown[i].get("by")) for i in (1, 3, 4, 5)] == [
        ("open", "Ann"),
        (None, "Ann"),
        ("half", "Bea"),
        ("-", None),
    ]
    assert 77 not in shown
    body = {"question": "door", "by": "Ann", "entries": 2}
    status_, undone = server.post("undo", body)
    assert status_ == 200
    assert [each["label"] for each in undone["undone"]] == [None, "open"]
    assert collection.labels("door") == {4: "half"}  # Bea's stays
    assert server.post("undo", body)[1]["undone"] == []
    assert undone["revision"] == collection.revision("door")


def test_what_others_labelled_meanwhile_is_not_run_over(
    server: Client, collection: Collection
) -> None:
    server.give("open", [1, 2, 3], by="Bea")
    found = server.give("closed", [1, 4])  # whoever gives it saw no label on either
    assert found["labelled"] == 1
    assert found["conflicts"] == [{"id": 1, "label": "open", "by": "Bea"}]
    assert collection.labels("door") == {1: "open", 2: "open", 3: "open", 4: "closed"}
    agreed = server.give("open", [2])  # the same is no conflict
    assert (agreed["labelled"], agreed["conflicts"]) == (0, [])
    over = server.give("closed", [1], seen={1: "open"})
    assert (over["labelled"], over["conflicts"]) == (1, [])
    assert collection.labels("door")[1] == "closed"
    assert server.give(None, [3])["conflicts"] == [{"id": 3, "label": "open", "by": "Bea"}]


def test_people_and_questions_are_told_to_all(server: Client, collection: Collection) -> None:
    server.get("state", by="Ann")
    server.give("open", [1, 2])
    state = server.get("state", by="Bea")
    assert state["people"] == ["Ann", "Bea"]
    (question,) = state["questions"]
    assert question["counts"]["by_label"] == {"open": 2, "closed": 0, "half": 0}
    assert question["revision"] == collection.revision("door")
    assert state["views"] == [
        {"camera": None, "view": None, "pictures": 30},
        {"camera": "gate", "view": None, "pictures": 30},
    ]
    assert state["model"] is False
    assert server.status("/label/api/model?question=door") == 404


def test_labels_are_exported_as_a_table_and_as_folders(tmp_path: Path) -> None:
    with collection_of(tmp_path / "c", MANY, camera="=gate") as collection:
        server = Client(collection)
        for kind in ("csv", "folders"):
            assert server.status(f"/label/export?question=door&kind={kind}") == 409
        server.give("open", [1, 4])
        server.give("half", [3], by="Bea")
        server.give(None, [5])
        table = server.ask("GET", "/label/export?question=door&kind=csv")
        assert table.headers["content-disposition"].endswith("''door.csv")
        rows = list(csv.DictReader(io.StringIO(table.data.decode())))
        assert [(row["file"], row["door"], row["by"]) for row in rows] == [
            ("00000001.jpg", "open", "Ann"),
            ("00000003.jpg", "half", "Bea"),
            ("00000004.jpg", "open", "Ann"),
        ]
        assert rows[0]["camera"] == "'=gate"  # no spreadsheet computes it
        archive = server.ask("GET", "/label/export?question=door&kind=folders")
        with zipfile.ZipFile(io.BytesIO(archive.data)) as found:
            assert found.testzip() is None
            assert found.namelist() == [
                "open/00000001.jpg",
                "half/00000003.jpg",
                "open/00000004.jpg",
            ]
            assert found.read("half/00000003.jpg") == collection.jpeg(3)
        collection.add_question(CollectionQuestion("tags", ("a", "b"), several=True))
        collection.add_question(CollectionQuestion("up", ("../a", "b")))
        for question in ("tags", "up"):
            assert server.status(f"/label/export?question={question}&kind=folders") == 409
        assert server.status("/label/export?question=door&kind=cvat") == 400


def test_a_new_question_is_about_a_view_that_is_there(tmp_path: Path) -> None:
    with collection_of(tmp_path / "c", [0, 1], view="latch") as collection:
        server = Client(collection, views=lambda: [("yard", ""), ("yard", "mat")])
        wanted = {"name": "mat", "labels": ["wet", "dry"], "camera": "yard", "view": "mat"}
        assert server.post("questions", wanted)[0] == 200
        several = {**wanted, "name": "tags", "camera": None, "view": None, "several": True}
        assert server.post("questions", several)[0] == 200
        assert collection.questions() == (
            CollectionQuestion("door", KINDS, None, ""),
            CollectionQuestion("mat", ("wet", "dry"), "yard", "mat"),
            CollectionQuestion("tags", ("wet", "dry"), None, "", several=True),
        )
        classes = {"question": "mat", "labels": ["wet", "dry", "snow"]}
        assert server.post("classes", classes)[0] == 200
        assert collection.questions()[1].labels == ("wet", "dry", "snow")
        for wrong in (
            {**wanted, "name": "mat"},  # taken
            {**wanted, "name": ""},
            {**wanted, "name": "../up"},
            {**wanted, "name": "new", "labels": ["wet"]},
            {**wanted, "name": "new", "labels": ["wet", "wet"]},
            {**wanted, "name": "new", "labels": "wet"},
            {**wanted, "name": "new", "labels": ["x" * 101, "y"]},
            {**wanted, "name": "new", "labels": [str(n) for n in range(201)]},
            {**wanted, "name": "new", "view": "nowhere"},
            {**wanted, "name": "new", "camera": ["yard"]},
            {**wanted, "name": "new", "several": "yes"},
        ):
            code, why = server.post("questions", wrong)
            assert (code, len(why) > 20) == (400, True), wrong
        assert len(collection.questions()) == 3


BAD_LABELS: list[Any] = [
    {"question": "window"},
    {"by": ""},
    {"by": "x" * 41},
    {"by": "A\nB"},
    {"choices": {"label": "open"}},
    {"choices": [{"label": "ajar", "ids": [1]}]},
    {"choices": [{"label": ["open"], "ids": [1]}]},
    {"choices": [{"label": 3, "ids": [1]}]},
    {"choices": [{"label": "open", "ids": ["1"]}]},
    {"choices": [{"label": "open", "ids": [True]}]},
    {"choices": [{"label": "open", "ids": [0]}]},
    {"choices": [{"label": "open", "ids": [2**63]}]},
    {"choices": [{"label": "open", "ids": [1.5]}]},
    {"choices": [{"label": "open"}]},
    {"choices": [{"label": "open", "ids": list(range(1, 5002))}]},
    {"choices": [{"label": "open", "ids": list(range(1, 3000))}] * 2},
    {"seen": [1]},
    {"seen": {"x": "open"}},
    {"seen": {"1": 5}},
]


def test_requests_that_make_no_sense_change_nothing(server: Client, collection: Collection) -> None:
    good = {"question": "door", "by": "Ann", "choices": [{"label": "open", "ids": [1]}]}
    for wrong in BAD_LABELS:
        code, why = server.post("labels", {**good, **wrong})
        assert code == (404 if "question" in wrong else 400), wrong
        assert len(why) > 10
    for body in (b"", b"[]", b"{", b'"x"', b"[" * 10_000, b"\xff"):
        assert server.send("labels", body) == 400
    assert server.send("labels", b"{}", "text/plain") == 415
    long = json.dumps({**good, "more": "x" * asked.BODY_BYTES})
    assert server.send("labels", long.encode()) == 413
    for entries in (0, -1, 5001, "1", None, True):
        undo = {"question": "door", "by": "Ann", "entries": entries}
        assert server.post("undo", undo)[0] == 400
    for query in (
        "pictures?question=door&ids=x",
        "pictures?question=door&ids=1,,2",
        "pictures?question=door&ids=" + ",".join(str(n) for n in range(1, 102)),
        "pictures?question=door&ids=" + "9" * 25,
        "order?question=door&show=some",
        "order?question=door&sort=random",
        "state?by=" + "x" * 41,
    ):
        assert server.status(f"/label/api/{query}") == 400
    assert server.status("/label/api/order") == 404
    assert server.status("/label/api/labels") == 405
    assert collection.labels("door") == {}


def test_a_collection_that_breaks_is_said_to_be(
    server: Client, collection: Collection, caplog: pytest.LogCaptureFixture
) -> None:
    collection.close()
    with caplog.at_level(logging.ERROR):
        for path in ("api/state", "api/order?question=door", "picture/1.jpg"):
            answer = server.ask("GET", f"/label/{path}")
            assert answer.status == 503
            assert b"closed" in answer.data
            assert b"Open it again" in answer.data
        code, why = server.post("questions", {"name": "x", "labels": ["a", "b"]})
    assert (code, "closed" in why) == (503, True)
    assert "the labelling page cannot answer" in caplog.text


def test_a_picture_that_cannot_be_decoded_is_said_to_be(tmp_path: Path) -> None:
    with collection_of(tmp_path / "c", [0]) as collection:
        (file,) = (tmp_path / "c" / "pictures").rglob("*.jpg")
        file.write_bytes(b"broken")
        answer = Client(collection).ask("GET", "/label/picture/1.jpg")
        assert (answer.status, b"picture" in answer.data) == (503, True)


def test_another_process_that_labels_meanwhile_is_not_run_over(
    server: Client, collection: Collection
) -> None:
    """Who looks and writes is alone with it, also where two programs serve one collection."""
    said: list[Any] = []
    with hold_lock(collection.folder):
        giving = threading.Thread(target=lambda: said.append(server.give("open", [1, 2])))
        giving.start()
        time.sleep(0.1)
        assert giving.is_alive()
        collection.label([1], "door", "half", "Bea")
    giving.join(20)
    assert said[0]["labelled"] == 1
    assert said[0]["conflicts"] == [{"id": 1, "label": "half", "by": "Bea"}]


def test_thousands_that_have_labels_are_labelled_anew_at_once(server: Client) -> None:
    seen = dict.fromkeys(range(1, asked.MOST_LABELLED + 1), "c" * 100)
    found = server.give("open", list(seen), seen=seen)
    assert found["labelled"] == 0  # none has the label that was seen

"""The labelling page in a real Chromium; skipped where there is none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from snow_runtime.app.labelling import Labelling, LabellingServer, ServingOptions
from snow_runtime.collection.records import CollectionQuestion
from tests.runtime.app import conftest
from tests.runtime.app.labelling.refit import Refit
from tests.runtime.app.labelling.scenes import KINDS, collection_of, new_picture
from tests.runtime.app.tabs import Tab
from tests.runtime.app.test_browser import HOSTILE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from playwright.sync_api import Browser

    from snow_runtime.collection.collection import Collection

PATIENCE_S = 40.0  # for machines that do something else besides
FORTY = [(5 * number + number // 7) % 3 for number in range(40)]


def until(happened: Callable[[], Any]) -> Any:
    """Wait until something is true, and give it back."""
    return conftest.until(happened, PATIENCE_S)


class Person(Tab):
    """Somebody at the labelling page."""

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def sort(self, how: str) -> None:
        self.page.locator("#sort").select_option(how)
        self.settled()

    def settled(self) -> None:
        """Wait until what is on the screen is known."""
        self.page.locator("#grid[aria-busy=false] .tile[data-state]").first.wait_for()

    def told(self, text: str) -> None:
        """Wait until the page says so."""
        until(lambda: text in self.text("#notice"))

    def mark(self, picture: int) -> str:
        """Give what stands on a picture."""
        return self.text(f"#picture-{picture} .mark").split("\n")[0].strip()

    def here(self) -> str | None:
        return self.page.locator(".tile.here").get_attribute("id")


@pytest.fixture
def person(browser: Browser) -> Iterator[Callable[..., Person]]:
    opened: list[Person] = []

    def opens(server: LabellingServer, name: str | None, **options: Any) -> Person:
        opened.append(Person(browser, **options))
        opened[-1].page.set_default_timeout(1000 * PATIENCE_S)
        if name is not None:
            script = f"localStorage.setItem('snow-labelling-name', '{name}')"
            opened[-1].page.add_init_script(script)
        opened[-1].page.goto(server.url)
        opened[-1].settled()
        return opened[-1]

    yield opens
    for each in opened:
        each.close()


@pytest.fixture
def collection(tmp_path: Path) -> Iterator[Collection]:
    with collection_of(tmp_path / "c", FORTY) as made:
        yield made


@pytest.fixture
def server(collection: Collection) -> Iterator[LabellingServer]:
    with LabellingServer(Labelling(collection), ServingOptions(port=0)) as served:
        yield served


def test_forty_pictures_are_labelled_by_keyboard(
    server: LabellingServer, collection: Collection, person: Callable[..., Person]
) -> None:
    ann = person(server, None)
    ann.sort("oldest")
    ann.press(str(FORTY[0] + 1))  # asks for the name first
    ann.page.keyboard.type("Ann")
    ann.press("Enter")
    until(lambda: len(collection.labels("door")) == 1)
    for kind in FORTY[1:]:
        ann.press(str(kind + 1))
    until(lambda: len(collection.labels("door")) == 40)

    assert collection.labels("door") == {
        number + 1: KINDS[kind] for number, kind in enumerate(FORTY)
    }
    until(lambda: ann.text("#progress i") == "of 40 pictures labelled")
    until(lambda: ann.text("#progress b") == "40")
    assert ann.mark(1) == KINDS[FORTY[0]]
    ann.page.reload()  # the name is kept
    ann.page.get_by_text("Nothing is left to do here.").wait_for()
    assert ann.text("#person") == "Ann"
    assert ann.complaints == []


def test_skip_undo_move_and_choose_a_range(
    server: LabellingServer, collection: Collection, person: Callable[..., Person]
) -> None:
    ann = person(server, "Ann")
    ann.sort("oldest")
    ann.press("2", "Space", "1")
    until(lambda: collection.labels("door") == {1: "closed", 3: "open"})
    assert collection.skipped("door") == {2}
    assert ann.here() == "picture-4"
    ann.press("u")
    until(lambda: collection.labels("door") == {1: "closed"})
    ann.told("Taken back: 1 picture (open)")
    assert ann.here() == "picture-3"
    ann.press("ArrowLeft", "ArrowLeft", "ArrowRight", "Shift+ArrowRight", "Shift+ArrowRight")
    assert ann.text("#chosen") == "3 pictures chosen"  # 2, 3 and 4
    ann.page.locator("#picture-6").click(modifiers=["Shift"])
    ann.page.locator("#picture-9").click(modifiers=["Control"])
    ann.page.locator("#picture-3").click(modifiers=["Control"])
    assert ann.text("#chosen") == "5 pictures chosen"
    ann.press("3")
    chosen = dict.fromkeys((2, 4, 5, 6, 9), "half")
    until(lambda: collection.labels("door") == {1: "closed", **chosen})
    ann.press("Control+z")
    ann.told("Taken back: 5 pictures (half)")
    assert collection.labels("door") == {1: "closed"}
    assert collection.skipped("door") == {2}
    ann.press("?")
    ann.page.get_by_text("never somebody else's").wait_for()
    ann.press("1", "Escape", "Escape")  # a key under the table does nothing
    assert ann.page.locator("#help").is_hidden()
    ann.press("Home", "Enter")
    ann.page.locator("#large img").wait_for()
    ann.press("ArrowRight", "ArrowRight", "1", "Escape")
    until(lambda: collection.labels("door").get(3) == "open")
    assert ann.complaints == []


def test_groups_and_suggestions_are_taken_at_once(
    server: LabellingServer, collection: Collection, person: Callable[..., Person]
) -> None:
    ann = person(server, "Ann")
    ann.sort("alike")
    largest = max(range(3), key=lambda kind: (FORTY.count(kind), -FORTY.index(kind)))
    first = ann.page.locator(".tile").first
    assert first.locator(".count").inner_text().endswith(str(FORTY.count(largest)))
    ann.press(str(largest + 1))
    members = {number + 1 for number, kind in enumerate(FORTY) if kind == largest}
    until(lambda: set(collection.labels("door")) == members)
    assert set(collection.labels("door").values()) == {KINDS[largest]}
    ann.press("u")
    ann.told(f"Taken back: {len(members)} pictures")
    assert collection.labels("door") == {}

    ann.press("Home", "Enter")  # opens the group
    until(lambda: ann.page.locator(".tile").count() == 2 + FORTY.count(largest))
    ann.press("1", "1", "2")
    until(lambda: len(collection.labels("door")) == 3)
    ann.press("u", "u", "u")
    until(lambda: collection.labels("door") == {})

    for kind, label in enumerate(KINDS):  # three neighbours of each kind
        ids = [number + 1 for number, each in enumerate(FORTY) if each == kind][:3]
        collection.label(ids, "door", label, "Bea")
    ann.sort("oldest")
    ann.page.locator(".mark[data-sure]:not([hidden])").first.wait_for()
    until(lambda: not ann.page.locator("#accept").is_disabled())
    ann.press("Home", "Shift+End")
    until(lambda: ann.text("#accept span") == "Accept 31")
    ann.press("a")
    until(lambda: len(collection.labels("door")) == 40)
    wrong = [n for n, label in collection.labels("door").items() if label != KINDS[FORTY[n - 1]]]
    assert wrong == []
    ann.press("u")  # one press, as it was one
    until(lambda: len(collection.labels("door")) == 9)
    assert ann.complaints == []


@pytest.mark.slow
def test_a_group_of_which_single_ones_have_other_labels_is_overruled_as_a_whole(
    server: LabellingServer, collection: Collection, person: Callable[..., Person]
) -> None:
    """It shows what its first picture has; of the others the page learns by the conflict."""
    largest = max(range(3), key=lambda kind: (FORTY.count(kind), -FORTY.index(kind)))
    members = [number + 1 for number, kind in enumerate(FORTY) if kind == largest]
    for picture, label in zip(members, KINDS, strict=False):
        collection.label([picture], "door", label, "Bea")
    ann = person(server, "Ann")
    ann.page.locator("[data-show=all]").click()
    ann.sort("alike")
    ann.page.locator(".tile.stack").first.wait_for()
    ann.press("2")
    ann.page.locator("#notice", has_text="left so").wait_for()
    ann.press("2")
    until(lambda: {collection.labels("door").get(each) for each in members} == {KINDS[1]})
    assert ann.complaints == []


def test_two_people_label_at_once(
    server: LabellingServer, collection: Collection, person: Callable[..., Person]
) -> None:
    ann, bea = person(server, "Ann"), person(server, "Bea")
    ann.sort("oldest")
    bea.sort("oldest")
    until(lambda: ann.text("#others") == "with Bea")
    bea.press("1")
    until(lambda: ann.mark(1) == "open")  # Ann sees it by herself, and whose it is
    assert ann.text("#picture-1 .who") == "Bea"
    ann.press("ArrowRight", "2")
    until(lambda: bea.mark(2) == "closed")

    # Neither sees what the other does next.
    for each in (ann, bea):
        each.page.route("**/api/pictures*", lambda route: route.abort())
    bea.page.locator("#picture-5").click()
    bea.press("3")
    until(lambda: collection.labels("door").get(5) == "half")
    ann.page.locator("#picture-4").click()
    ann.page.locator("#picture-5").click(modifiers=["Shift"])
    ann.press("1")
    ann.told("1 picture was labelled half by Bea meanwhile, and left so")
    assert collection.labels("door")[5] == "half"
    assert collection.labels("door")[4] == "open"
    ann.press("u", "u", "u")  # 4, then 2, then nothing
    ann.told("Ann has nothing left to take back.")
    assert collection.labels("door") == {1: "open", 5: "half"}
    for each in (ann, bea):
        each.page.unroute("**/api/pictures*")
    until(lambda: ann.mark(5) == "half")


def test_a_new_question_is_asked(
    server: LabellingServer, collection: Collection, person: Callable[..., Person]
) -> None:
    ann = person(server, "Ann")
    ann.page.get_by_role("button", name="New question").click()
    form = ann.page.locator("#ask-question")
    form.locator("[name=name]").fill("door")
    form.locator("[name=labels]").fill("day\nnight\n")
    form.get_by_role("button", name="Go").click()
    form.get_by_text("has a question 'door' already").wait_for()
    form.locator("[name=name]").fill("light")
    form.locator("[name=view]").select_option("1")
    form.get_by_role("button", name="Go").click()
    until(lambda: ann.text("#labels button span") == "day")
    assert collection.questions()[1] == CollectionQuestion("light", ("day", "night"), "gate", "")
    ann.settled()
    ann.press("2")
    until(lambda: list(collection.labels("light").values()) == ["night"])
    ann.page.get_by_role("button", name="Add a class").click()
    ann.page.locator("#ask-class input").fill("dusk")
    ann.press("Enter")
    ann.page.locator("#labels button", has_text="dusk").click()
    until(lambda: sorted(collection.labels("light").values()) == ["dusk", "night"])
    assert collection.labels("door") == {}

    collection.add_question(CollectionQuestion("tags", ("wet", "torn", "old"), several=True))
    ann.page.locator("#question").select_option("tags")
    until(lambda: ann.page.locator("#labels button").count() == 5)  # and none, and +
    ann.sort("oldest")
    ann.press("3", "1", "3", "2", "ArrowRight")
    until(lambda: collection.labels("tags") == {1: ("wet", "torn")})
    ann.page.get_by_role("button", name="none of them").click()
    until(lambda: collection.labels("tags") == {1: ("wet", "torn"), 2: ()})
    collection.add(new_picture(0, 500))
    ann.page.get_by_text("↻ 1 new").click()
    until(lambda: ann.page.locator(".tile").count() == 39)


def test_a_phone_labels_with_a_thumb(
    server: LabellingServer, collection: Collection, person: Callable[..., Person]
) -> None:
    ann = person(
        server, "Ann", viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True
    )
    page = ann.page
    ann.sort("oldest")
    sizes = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert sizes == [390, 390]
    for button in page.locator("button:visible").all():
        box = button.bounding_box()
        assert box
        assert box["height"] >= 44, button.inner_text()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 390
    for picture in (2, 3, 5):
        page.locator(f"#picture-{picture}").tap()
    page.locator("#picture-3").tap()  # not this one after all
    assert ann.text("#chosen") == "2 pictures chosen"
    page.locator("#labels button", has_text="half").tap()
    until(lambda: collection.labels("door") == {2: "half", 5: "half"})
    page.locator("#undo").tap()
    until(lambda: collection.labels("door") == {})


def test_names_are_texts_and_thousands_scroll(
    tmp_path: Path, person: Callable[..., Person]
) -> None:
    with collection_of(tmp_path / "c", FORTY[:5], camera=HOSTILE) as collection:
        collection.add_question(CollectionQuestion("a", (HOSTILE, "b"), HOSTILE))
        collection.label([1], "a", HOSTILE, HOSTILE)
        with collection.database.writing() as connection:  # quickly: the same few files
            connection.execute(
                "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1500) "
                "INSERT INTO pictures SELECT 100 + i, sha256, 'many' || i, view, taken_at, reason, "
                "source_sha256, '', '{}', width, height, NULL, 0, 0 FROM n, pictures WHERE id = 1"
            )
        with LabellingServer(Labelling(collection), ServingOptions(port=0)) as server:
            ann = person(server, "Ann")
            page = ann.page
            page.get_by_role("radio", name="All").click()
            until(lambda: ann.text("#picture-1 .mark b") == HOSTILE)
            assert ann.text("#picture-1 .who") == HOSTILE
            assert page.locator("main :is(img[src=x], script)").count() == 0
            assert page.evaluate("window.hurt") is None
            page.locator("#question").select_option("door")
            ann.sort("newest")
            page.locator("#picture-1600").wait_for()
            assert page.locator(".tile").count() < 1000  # the rest as one scrolls there
            ann.press("End")
            page.locator("#picture-1.here[data-state]").wait_for()
            assert page.locator(".tile").count() == 1505
            assert ann.complaints == []


def test_the_model_tab_tells_and_leads_to_pictures(
    collection: Collection, person: Callable[..., Person]
) -> None:
    for number, kind in enumerate(FORTY[:30]):
        collection.label([number + 1], "door", KINDS[kind], "Ann")
    refit = Refit(collection)
    with LabellingServer(Labelling(collection, refit), ServingOptions(port=0)) as server:
        ann = person(server, "Ann")
        page = ann.page
        page.get_by_role("tab", name="Model").click()
        page.get_by_text("Honest accuracy").wait_for()
        assert "between 62 % and 97 %" in ann.text("#model").replace("\u202f", " ")
        page.get_by_role("button", name="Go back").click()
        until(lambda: refit.live == 1)
        page.locator(".versions").get_by_text("answers", exact=True).wait_for()
        page.get_by_role("button", name="Fit now").click()
        until(lambda: refit.requested == ["door"])
        page.locator(".confusion .wrong").first.click()
        until(lambda: page.locator(".tile").count() == 2)
        assert "open, answered closed" in ann.text("#told")
        ann.settled()
        ann.press("2")
        until(lambda: refit.requested[-1:] == ["door"] and len(refit.requested) > 1)
        assert ann.complaints == []

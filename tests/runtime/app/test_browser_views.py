"""Views, states and drawing on the live page, in a real Chromium."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from snow_deploy.cli import main
from snow_deploy.cli.config_questions import read_questions
from snow_deploy.cli.config_read import read_config
from snow_runtime.app.answers import TaskAnswer
from snow_runtime.cameras import Frame
from snow_runtime.cameras.clock import SYSTEM_CLOCK
from tests.runtime.app.asked import SETUP, become
from tests.runtime.app.conftest import HEIGHT, WIDTH, picture, until
from tests.runtime.app.tabs import live_picture

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from playwright.sync_api import ViewportSize

    from snow_runtime.app.questions.question import Question
    from tests.runtime.app.conftest import Scene
    from tests.runtime.app.tabs import Tab

PHONE: ViewportSize = {"width": 390, "height": 844}
ADDRESS = 'address = "synthetic://"\n'


def asked(scene: Scene) -> None:
    """Put one frame of what `SETUP` asks."""
    scene.labels = {"latched": [], "mess": [], "weather": []}
    frame = Frame(picture(0), 0, SYSTEM_CLOCK.now(), "front")
    said = {
        "latched": TaskAnswer("open", 0.55, None, "unsure"),
        "mess": TaskAnswer("wet", 0.9, (("wet", 0.9),)),
    }
    scene.labels = {"latched": ["open"], "mess": ["wet"], "weather": ["sun"]}
    answer = replace(scene.put(), tasks=said, taken_at=frame.captured_at.unix_s)
    scene.live.put(frame, answer)
    scene.stats.record_view("front", "latch", 1.0)


def points(tab: Tab, selector: str) -> list[tuple[float, float]]:
    """Give the points of a shape as shares of the picture."""
    text, width, height = tab.page.locator(selector).first.evaluate(
        "e => [e.getAttribute('points'), e.closest('svg').clientWidth,"
        " e.closest('svg').clientHeight]"
    )
    numbers = [float(part) for part in text.split()]
    pairs = zip(numbers[::2], numbers[1::2], strict=True)
    return [(round(x / width, 2), round(y / height, 2)) for x, y in pairs]


def test_views_states_and_thresholds_are_shown(scene: Scene, tab: Callable[..., Tab]) -> None:
    become(scene, ("latched", None, "stale", "open"), ("mess", "wet", "stale", "on"))
    asked(scene)
    scene.stats.count("unasked")  # no problem
    with scene.page(setup=lambda: SETUP) as page:
        shown = tab(page.url)
        live_picture(shown)
        find = shown.page.locator
        find(".views text").first.wait_for(state="attached")

        assert points(shown, ".views .colour-0 .edge") == [
            (0.1, 0.2),
            (0.4, 0.2),
            (0.4, 0.6),
            (0.1, 0.6),
        ]
        assert points(shown, ".views .colour-1 .edge:not(.around)") == [
            (0.5, 0.5),
            (1.0, 0.5),
            (0.75, 1.0),
        ]
        assert find(".views text").all_text_contents()[0].startswith("latch ↻\u202f90°")
        until(lambda: "% of the time" in find(".view-list li").all_inner_texts()[0])
        assert shown.text("#tasks-title") == "Questions"
        assert shown.text("[data-figure=problems]") == "None"
        assert shown.names() == ["latched", "mess"]  # the weather is another camera's
        assert find(".answer .about").all_inner_texts()[0] == "textures, latch, every 2 s"
        assert find(".answer .label").all_inner_texts()[0] == "unknown (unsure) open?"
        assert shown.text(".answer .percent") == "55\u202f%"
        marks = [each.get_attribute("title") for each in find(".bar s").all()]
        assert marks == [
            "unsure below 70\u202f%",
            "becomes the state from 80\u202f% on",
            "stays the state from 60\u202f% on",
        ]
        chips = find(".now .chip").all_inner_texts()
        assert chips == ["open", "wet: on"]

        become(scene, ("latched", None, "open", "unknown"))
        become(scene, ("latched", None, "unknown", "stale"), ("mess", "wet", "on", "off"))
        until(lambda: find(".now .chip").all_inner_texts() == ["stale", "wet: off"])
        until(lambda: shown.text("#spoken") != "")
        kinds = [each.get_attribute("data-kind") for each in find(".now .chip").all()]
        assert kinds == ["stale", "off"]
        assert "front, mess, wet: off, before on" in shown.text("#spoken")
        shown.page.locator(".changes summary").first.click()
        lines = find(".answer").first.locator(".changes :is(summary, li)").all_inner_texts()
        said = [re.sub(r"^\d\d:\d\d:\d\d ", "", " ".join(line.split())) for line in lines]
        assert said == [
            "unknown → stale answers agree",
            "open → unknown answers agree",
            "stale → open answers agree",
        ]
        strip = [each.get_attribute("data-kind") for each in find(".strip rect").all()]
        assert strip == ["stale", "label", "unknown", "stale"]
        looks = {
            kind: find(f".chip[data-kind={kind}]").first.evaluate(
                "e => getComputedStyle(e).borderStyle"
            )
            for kind in ("label", "unknown", "stale")
        }
        assert len(set(looks.values())) == 3
        assert shown.complaints == []


def test_a_long_label_does_not_hide_its_state(scene: Scene, tab: Callable[..., Tab]) -> None:
    asked(scene)
    label = "a label that is much longer than a column of the page is wide, with c#/ruddy"
    become(scene, ("mess", label, "on", "off"))
    with scene.page(setup=lambda: SETUP) as page:
        shown = tab(page.url, viewport=PHONE)
        live_picture(shown)
        chip = shown.page.locator(".now .chip", has_text="a label that is")
        chip.wait_for()
        assert chip.inner_text().endswith(": off")
        assert chip.evaluate("e => e.scrollWidth <= e.clientWidth")  # nothing is cut off
        shown.until("document.documentElement.scrollWidth <= innerWidth")


def configured(text: str, tmp_path: Path, camera: str = "front") -> Question:
    """Read a text that the page made as a part of a configuration; give its question."""
    path = tmp_path / "snow.toml"
    path.write_text(f'[cameras."{camera}"]\n{ADDRESS}\n{text}', encoding="utf-8")
    result = CliRunner().invoke(main, ["config", "check", str(path)])
    assert (result.exit_code, result.stdout.partition(":")[0]) == (0, f"{path} is right"), text
    (question,) = read_questions(read_config(path))[0].questions
    return question


def on_board(tab: Tab, x: float, y: float) -> tuple[float, float]:
    """Give a place of the picture that is drawn on, in pixels of the screen."""
    board = tab.page.locator(".board")
    board.scroll_into_view_if_needed()
    box: Any = board.bounding_box()
    return box["x"] + x * box["width"], box["y"] + y * box["height"]


def drag(tab: Tab, *shares: tuple[float, float]) -> None:
    first, *others = [on_board(tab, *each) for each in shares]
    tab.page.mouse.move(*first)
    tab.page.mouse.down()
    for each in others:
        tab.page.mouse.move(*each, steps=2)
    tab.page.mouse.up()


def test_a_view_is_drawn_and_its_configuration_copied(
    scene: Scene, tab: Callable[..., Tab], tmp_path: Path
) -> None:
    asked(scene)
    requested: list[str] = []
    with scene.page(setup=lambda: SETUP) as page:
        shown = tab(page.url, viewport=PHONE, has_touch=True)
        shown.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        live_picture(shown)
        shown.page.on("request", lambda request: requested.append(request.method))
        shown.page.get_by_role("button", name="Draw a view of front").click()
        dialog = shown.page.get_by_role("dialog", name="Draw a view")
        text, fault = dialog.get_by_label("Configuration"), dialog.locator(".wrong")
        copy = dialog.get_by_role("button", name="Copy the configuration")
        dialog.locator(".board .blank").wait_for(state="hidden")
        assert fault.inner_text() == "Draw the view on the picture."

        drag(shown, (0.6, 0.8), (0.2, 0.3))
        assert fault.inner_text() == "Give the view a name."
        dialog.get_by_label("Name of the view").fill("latch")
        assert fault.inner_text() == "front has a view latch already; give another name."
        dialog.get_by_label("Name of the view").fill('Tür "2"\\ ')
        dialog.get_by_label("Turned clockwise by").select_option("90")
        dialog.get_by_label("Task to ask about it").select_option("clothing")
        assert copy.is_disabled()
        dialog.get_by_label("Name of the question").fill("mess")
        assert fault.inner_text() == "There is a question mess already; give another name."
        dialog.get_by_label("Name of the question").fill("drawn")
        copy.click()
        dialog.get_by_text("Copied.").wait_for()
        copied = shown.page.evaluate("navigator.clipboard.readText()")
        assert copied == text.input_value()
        question = configured(copied, tmp_path)
        assert (question.name, question.task, question.camera) == ("drawn", "clothing", "front")
        assert (question.view.name, question.view.rotation) == ('Tür "2"\\', 90)
        assert question.view.box == pytest.approx((0.2, 0.3, 0.6, 0.8), abs=0.01)

        assert shown.page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
        dialog.get_by_role("button", name="Close").click()
        shown.page.locator("dialog").wait_for(state="detached")
        assert (set(requested), shown.complaints) == ({"GET"}, [])


@pytest.mark.slow
def test_what_is_drawn_can_be_changed(
    scene: Scene, tab: Callable[..., Tab], tmp_path: Path
) -> None:
    asked(scene)
    with scene.page(setup=lambda: SETUP) as page:
        shown = tab(page.url, viewport=PHONE, has_touch=True)
        live_picture(shown)
        shown.page.get_by_role("button", name="Draw a view of front").click()
        dialog = shown.page.get_by_role("dialog")
        text = dialog.get_by_label("Configuration")
        dialog.get_by_label("Name of the view").fill("a")
        dialog.get_by_label("Task to ask about it").select_option("clothing")
        dialog.get_by_label("Name of the question").fill("q")
        dialog.locator(".board .blank").wait_for(state="hidden")
        drag(shown, (0.6, 0.8), (0.2, 0.3))
        drag(shown, (0.6, 0.8), (0.7, 0.9))  # a corner
        assert configured(text.input_value(), tmp_path).view.box == pytest.approx(
            (0.2, 0.3, 0.7, 0.9), abs=0.02
        )
        dialog.get_by_label("Polygon").check()
        for x, y in ((0.2, 0.2), (0.8, 0.2), (0.5, 0.9)):
            shown.page.touchscreen.tap(*on_board(shown, x, y))
        view = configured(text.input_value(), tmp_path).view
        assert view.polygon is not None
        assert [pytest.approx(point, abs=0.01) for point in view.polygon] == [
            (0.2, 0.2),
            (0.8, 0.2),
            (0.5, 0.9),
        ]
        drag(shown, (0.5, 0.9), (0.6, 0.9))  # a point
        view = configured(text.input_value(), tmp_path).view
        assert view.polygon is not None
        assert view.polygon[2] == pytest.approx((0.6, 0.9), abs=0.02)
        shown.page.evaluate("Object.defineProperty(navigator, 'clipboard', { value: undefined })")
        dialog.get_by_role("button", name="Copy the configuration").click()
        dialog.get_by_text("Copied.").wait_for()  # as a page without TLS does it
        dialog.get_by_role("button", name="Begin again").click()
        assert text.input_value() == ""
        assert shown.complaints == []


def test_a_view_is_drawn_with_keys(scene: Scene, tab: Callable[..., Tab], tmp_path: Path) -> None:
    asked(scene)
    scene.live.put(
        Frame(picture(0)[: HEIGHT // 2, : WIDTH // 2], 1, SYSTEM_CLOCK.now(), "front"),
        scene.live.newest()["front"],
    )
    with scene.page() as page:  # nothing is chosen: each task is asked
        shown = tab(page.url)
        live_picture(shown)
        press = shown.page.keyboard.press
        shown.page.get_by_role("button", name="Draw a view of front").focus()
        press("Enter")
        dialog = shown.page.get_by_role("dialog")
        dialog.get_by_label("Name of the view").fill("mat")
        dialog.get_by_label("Task to ask about it").select_option("mess")
        dialog.get_by_label("Name of the question").fill("größe-2")
        assert dialog.get_by_text("Once there is a question").is_visible()
        dialog.locator(".board").focus()
        for key in ("Enter", "ArrowLeft", "ArrowUp", "Shift+ArrowRight", "Shift+ArrowDown"):
            press(key)
        view = configured(dialog.get_by_label("Configuration").input_value(), tmp_path).view
        assert view.box == pytest.approx((0.24, 0.24, 0.75, 0.75))
        assert "left 24\u202f%, top 24\u202f%" in dialog.locator("[data-field=place]").inner_text()
        dialog.get_by_label("Polygon").check()
        dialog.locator(".board").focus()
        for key in ("Enter", "Enter", "ArrowRight", "Enter", "ArrowDown", "Enter", "Backspace"):
            press(key)
        found = configured(dialog.get_by_label("Configuration").input_value(), tmp_path)
        assert found.name == "größe-2"
        assert found.view.polygon == ((0.5, 0.5), (0.51, 0.5), (0.51, 0.51))
        press("Escape")
        shown.page.locator("dialog").wait_for(state="detached")
        assert shown.complaints == []


ODD = (
    "a.b",
    "a b",
    'a"b',
    "a\\b",
    "a'b",
    "a]b",
    "[a]",
    "a = b",
    "#a",
    "größer 🚪",
    "\t",
    "a\x01\x1f\x7fb",
    "\x85\u2028",
    "true",
    "1.5",
    "__proto__",
    "-",
    '"""',
)


def test_odd_names_are_read_as_they_were_given(
    scene: Scene, tab: Callable[..., Tab], tmp_path: Path
) -> None:
    with scene.page() as page:
        shown = tab(page.url)
        texts = shown.page.evaluate(
            """names => import("./static/config_text.js").then(({ configText, nameOf }) =>
                names.map((name) => configText({ camera: "über-1", view: name || "x", task: name,
                    question: "q", area: { box: [0, 0.125, 1, 0.5] }, rotate: 0 })))""",
            list(ODD),
        )
        cleaned, faults = shown.page.evaluate(
            """() => import("./static/config_text.js").then(({ faultOf, nameOf }) => [
                [" a ", "u\\u0308", "a\\ud800b"].map(nameOf),
                ["", "a b", "a.b", "²", "a-1_ü"].map((question) => faultOf({ camera: "c",
                    view: "v", area: {}, task: "t", question },
                    { views: {}, questions: [], chosen: false })),
            ])"""
        )
    for name, text in zip(ODD, texts, strict=True):
        question = configured(text, tmp_path, "über-1")
        assert (question.view.name, question.task, question.camera) == (name, name, "über-1")
        assert question.view.box == (0, 0.125, 1, 0.5)
    assert cleaned == ["a", "ü", "ab"]
    assert [bool(fault) for fault in faults] == [True, True, True, False, False]

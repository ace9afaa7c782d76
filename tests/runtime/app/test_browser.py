"""The live page in a real Chromium; skipped where there is none."""

from __future__ import annotations

import http.server
import re
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

import pytest

from snow_runtime.app.answers import TaskAnswer
from snow_runtime.cameras import Frame
from snow_runtime.cameras.clock import SYSTEM_CLOCK
from tests.runtime.app.asking import served
from tests.runtime.app.conftest import NAME, Scene, picture, until
from tests.runtime.app.proxies import blocks, proxied
from tests.runtime.app.tabs import DESKTOP, live, live_picture

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from playwright.sync_api import ViewportSize

    from tests.runtime.app.tabs import Tab

HOSTILE = "<img src=x onerror=window.hurt=1><script>window.hurt=1</script>"
PHONE: ViewportSize = {"width": 360, "height": 740}
TABLET: ViewportSize = {"width": 820, "height": 1100}
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")


def test_the_page_shows_pictures_and_answers(moving: Scene, tab: Callable[..., Tab]) -> None:
    with moving.page() as page:
        shown = tab(page.url)
        live_picture(shown)
        red, green, blue, _ = shown.colour()

        assert shown.text(".camera h2") == "front"
        assert shown.text(".camera .state") == "Connected"
        assert shown.names() == ["shape", "colour"]
        assert blue > 150
        assert (red < 60 and green < 60) or (red > 200 and green > 200)
        assert shown.page.locator("canvas").evaluate("c => [c.width, c.height]") == [160, 90]
        assert shown.text("[data-count=drops]") == "7"
        assert shown.text("[data-count=reconnections]") == "2"
        assert shown.text("[data-count=latency]") == "13 ms"
        assert shown.text("[data-figure='latency_ms.0.99']") == "13"
        assert shown.text("[data-figure=problems]") == "None"
        assert shown.page.get_by_role("meter", name="Probability, shape").is_visible()
        assert shown.page.get_by_role("img", name="Picture of front").is_visible()
        assert (shown.complaints, shown.hosts) == ([], {urlsplit(page.url).netloc})


def test_values_are_updated(moving: Scene, tab: Callable[..., Tab]) -> None:
    with moving.page() as page:
        shown = tab(page.url)
        live(shown)
        for label in ("circle", "square", "circle"):
            shown.page.locator(".answer .label", has_text=label).wait_for()
        shown.page.evaluate("window.lines = new Set()")
        shown.until(
            "window.lines.add(document.querySelector('.line').getAttribute('d')).size > 3"
            " && window.lines.add(document.querySelector('.bar i').style.cssText).size > 6"
        )
        until(lambda: shown.colour()[0] > 200)  # the white bar passes by
        until(lambda: shown.colour()[0] < 60)
        until(lambda: float(shown.text("[data-count=frames_per_s]")) > 3)
        moving.stats.count("mqtt_lost", 1234)
        shown.page.get_by_text("1 234 answers lost on the way to MQTT").wait_for()
        assert shown.complaints == []


def test_a_task_is_switched_off_and_on(moving: Scene, tab: Callable[..., Tab]) -> None:
    with moving.page() as page:
        shown, other = tab(page.url), tab(page.url)
        switch = shown.page.get_by_role("switch", name="colour")
        live(other)
        switch.click()
        for each in (shown, other):
            until(lambda here=each: here.names() == ["shape"])  # type: ignore[misc]
        assert moving.live.hidden == {"colour"}
        assert switch.get_attribute("aria-checked") == "false"
        until(lambda: "colour" not in moving.live.newest()["front"].tasks)
        switch.focus()
        shown.page.keyboard.press("Space")
        until(lambda: shown.names() == ["shape", "colour"])
        assert moving.live.hidden == set()
        moving.labels = {"digit": ["1"]}  # another model
        until(lambda: shown.names() == ["digit"])
        assert shown.page.get_by_role("switch").count() == 1
        assert shown.complaints == other.complaints == []


def test_a_switch_that_fails_goes_back(moving: Scene, tab: Callable[..., Tab]) -> None:
    with moving.page() as page:
        shown = tab(page.url)
        live(shown)
        shown.page.route("**/tasks/*", lambda route: route.fulfill(status=500))
        switch = shown.page.get_by_role("switch", name="shape")
        switch.click()
        shown.page.get_by_text("shape could not be switched off.").first.wait_for()
        until(lambda: switch.get_attribute("aria-checked") == "true")
        assert moving.live.hidden == set()


def test_a_switch_that_is_refused_says_why(moving: Scene, tab: Callable[..., Tab]) -> None:
    with moving.page() as page:
        shown = tab(page.url)
        live(shown)
        page._board.switch = lambda *_, **__: False  # type: ignore[method-assign]
        shown.page.get_by_role("switch", name="shape").click()
        why = "shape could not be switched off. The model has no such task."
        shown.page.get_by_text(why).first.wait_for()


def test_a_camera_that_is_away_is_said_to_be(moving: Scene, tab: Callable[..., Tab]) -> None:
    with moving.page() as page:
        shown = tab(page.url)
        live_picture(shown)
        moving.paused.add("front")
        moving.states["front"].update(
            state="reconnecting", since_s=75.0, error="The cable is off.", connected=0
        )
        until(lambda: shown.text(".camera .state") == "Reconnecting for 1 min 15 s")
        shown.page.get_by_text(
            re.compile(r"This picture is \d s old\. The cable is off\.")
        ).wait_for()
        assert shown.text("#spoken") == "front: Reconnecting"
        moving.states["front"].update(state="connected", error=None)
        moving.paused.clear()
        until(shown.page.locator(".over").is_hidden)
        assert shown.text(".camera .state") == "Connected"
        moving.add("back")
        until(lambda: shown.page.locator(".camera").count() == 2)
        del moving.states["front"]
        moving.live._answers.pop("front")
        until(lambda: shown.page.locator(".camera h2").all_inner_texts() == ["back"])
        assert shown.complaints == []


def test_the_server_goes_and_comes_back(moving: Scene, tab: Callable[..., Tab]) -> None:
    page = moving.page()
    with page:
        shown = tab(page.url)
        live(shown)
        shown.page.wait_for_selector(".answer")
        height = shown.page.evaluate("document.documentElement.scrollHeight")
    shown.page.get_by_text("The connection to the server is lost.").first.wait_for()
    assert shown.text("#link") == "Disconnected"
    assert shown.text(".camera .state") == "Not known"
    assert shown.page.title().startswith("Disconnected")
    assert shown.page.evaluate("document.documentElement.scrollHeight") == height
    assert all("ERR_" in text for text in shown.complaints)
    with page:
        live(shown)
        assert shown.page.locator("#notice").is_hidden()
        assert shown.text("#link") == "Live"
        until(lambda: shown.text(".camera .state") == "Connected")
        shown.page.evaluate("window.before = document.querySelector('.line').getAttribute('d')")
        shown.until("document.querySelector('.line').getAttribute('d') !== window.before")
        until(lambda: shown.colour()[0] > 200)
        until(lambda: shown.colour()[0] < 60)


def test_a_server_that_hangs_is_noticed(
    moving: Scene, tab: Callable[..., Tab], monkeypatch: pytest.MonkeyPatch
) -> None:
    goes_on = threading.Event()

    def hang() -> None:
        assert goes_on.wait(10)

    with moving.page() as page:
        shown = tab("about:blank")
        shown.page.clock.install()  # the five seconds of silence pass at once
        shown.page.goto(page.url)
        live(shown)
        monkeypatch.setattr(moving.stats, "snapshot", hang)
        shown.page.clock.fast_forward(6000)
        shown.page.get_by_text("The connection to the server is lost.").first.wait_for()
        goes_on.set()


def test_the_token_opens_the_page(moving: Scene, tab: Callable[..., Tab]) -> None:
    with moving.page(token="correct-horse-battery") as page:  # noqa: S106 - of this test only
        without = tab(page.url)
        assert "needs its token" in without.text("h1")
        shown = tab(page.entry_url)
        live(shown)
        assert shown.page.url == page.url
        live_picture(shown)
        shown.page.get_by_role("switch", name="shape").click()
        until(lambda: moving.live.hidden == {"shape"})
        assert "battery" not in shown.page.evaluate("document.cookie + location.href")
        assert shown.complaints == []
        port = urlsplit(page.url).port
    with moving.page(token="another-horse-battery", port=port):  # noqa: S106 - of this test only
        shown.page.get_by_text("wants its new token").first.wait_for()


def test_a_link_of_another_site_opens_the_page(moving: Scene, tab: Callable[..., Tab]) -> None:
    class Elsewhere(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(f"<a href='{page.entry_url}'>go</a>".encode())

        def log_message(self, *_: Any) -> None:
            pass

    other = http.server.HTTPServer(("127.0.0.1", 0), Elsewhere)
    thread = threading.Thread(target=other.serve_forever, args=(0.02,))
    thread.start()
    try:
        with moving.page(token="correct-horse-battery") as page:  # noqa: S106 - of this test only
            shown = tab(f"http://localhost:{other.server_port}/")  # another site than 127.0.0.1
            shown.page.get_by_text("go").click()
            live(shown)
            assert shown.page.url == page.url
    finally:
        other.shutdown()
        thread.join()
        other.server_close()


@pytest.mark.parametrize(("kind", "block", "path"), blocks())
def test_the_page_behind_a_proxy(  # noqa: PLR0917 - fixtures
    moving: Scene,
    tab: Callable[..., Tab],
    certificate: tuple[Path, Path],
    kind: str,
    block: str,
    path: str,
) -> None:
    block = block.replace("443 ssl", "443 ssl http2")
    with (
        moving.page(token="correct-horse-battery", allowed_hosts=[NAME]) as page,  # noqa: S106
        proxied(kind, block, path, page, certificate) as proxy,
    ):
        address = f"{proxy.site}{path}"
        shown = tab(f"{address}?token=correct-horse-battery", ignore_https_errors=True)
        live_picture(shown)
        shown.page.get_by_role("switch", name="shape").click()
        until(lambda: moving.live.hidden == {"shape"})
        (cookie,) = shown.page.context.cookies()
        assert (cookie["path"], cookie["secure"]) == (path.rstrip("/") or "/", True)
        assert shown.page.url == address
        assert (shown.complaints, shown.hosts) == ([], {urlsplit(address).netloc})


def test_nothing_is_wider_than_the_screen(moving: Scene, tab: Callable[..., Tab]) -> None:
    long = "Donaudampfschifffahrtsgesellschaft" * 4
    moving.labels = {long: [long], "a task of several words " * 5: ["a label " * 30], "b": ["c"]}
    moving.add(long)
    moving.states[long].update(state="reconnecting", since_s=1e6, error=long, drops=10**9)
    moving.stats.count("an_odd_problem" * 5, 10**9)
    with moving.page() as page:
        shown = tab(page.url, viewport=PHONE, has_touch=True)
        live_picture(shown)
        until(lambda: shown.page.locator(".answer").count() == 6)
        for viewport, least in ((PHONE, 44), (TABLET, 36), (DESKTOP, 36)):
            shown.page.set_viewport_size(viewport)
            sizes = shown.page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
            assert sizes[0] <= sizes[1] == viewport["width"]
            for box in shown.page.locator(".switches button").all():
                bounds = box.bounding_box()
                assert bounds
                assert bounds["x"] + bounds["width"] <= viewport["width"]
                assert bounds["height"] >= least
        assert shown.complaints == []


def test_texts_stand_out_from_the_ground(moving: Scene, tab: Callable[..., Tab]) -> None:
    with moving.page() as page:
        shown = tab(page.url)
        live(shown)
        shown.page.locator(".answer").first.wait_for()
        shown.page.evaluate(
            """() => {
                for (const tone of ["ok", "busy", "bad", "off"]) {
                    const state = document.createElement("p");
                    Object.assign(state, { id: tone, className: "state" });
                    state.dataset.tone = tone;
                    document.body.append(state);
                }
                const card = document.createElement("p");
                card.id = "card";
                card.style.color = "var(--card)";
                document.body.append(card);
            }"""
        )
        for scheme in SCHEMES:
            shown.page.emulate_media(color_scheme=scheme)
            card, *texts = shown.colours("#card", *TEXTS)
            assert (luminance(card) > 0.5) == (scheme == "light")
            for selector, text in zip(TEXTS, texts, strict=True):
                assert contrast(text, card) >= 4.5, (scheme, selector)


TEXTS = (
    *("#ok", "#busy", "#bad", "#off"),
    *(".hint", ".figures dt", "h1", ".answer .task", ".answer .label", ".switches button"),
)


def luminance(colour: list[int]) -> float:
    """Compute the relative luminance of WCAG 2.1."""
    parts = [value / 255 for value in colour]
    r, g, b = (v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in parts)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


def contrast(one: list[int], other: list[int]) -> float:
    """Compute the contrast ratio of WCAG 2.1."""
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def test_names_and_labels_are_texts(scene: Scene, tab: Callable[..., Tab]) -> None:
    scene.labels = {HOSTILE: [HOSTILE], "__proto__": ["a"], "constructor": ["b"]}
    scene.states.clear()
    scene.add(f"{HOSTILE}/../'\"&?#%41")
    scene.states[f"{HOSTILE}/../'\"&?#%41"].update(state=HOSTILE, error=HOSTILE)
    scene.stats.count(HOSTILE)
    scene.start()
    with scene.page() as page:
        shown = tab(page.url)
        live_picture(shown)
        shown.page.locator(".answer .label", has_text=HOSTILE).wait_for()

        assert shown.names() == [HOSTILE, "__proto__", "constructor"]
        assert shown.page.locator(".answer .label").all_inner_texts() == [HOSTILE, "a", "b"]
        assert HOSTILE in shown.text(".camera h2")
        shown.page.get_by_role("switch").first.click()
        until(lambda: scene.live.hidden == {HOSTILE})
        assert shown.page.locator("main :is(img, script)").count() == 0
        assert shown.page.evaluate("window.hurt") is None
        assert (shown.complaints, shown.hosts) == ([], {urlsplit(page.url).netloc})


def test_all_labels_that_are_present_are_shown(scene: Scene, tab: Callable[..., Tab]) -> None:
    said = {
        "tags": TaskAnswer("wet", 0.9, (("wet", 0.9), ("broken", 0.6))),
        "none": TaskAnswer("dry", 0.2, ()),
        "kind": TaskAnswer("cup", 0.8),
    }
    scene.labels = {task: ["unused"] for task in said}
    answer = scene.put()
    frame = Frame(picture(0), 1, SYSTEM_CLOCK.now(), "front")
    with scene.page() as page:
        shown = tab(page.url)
        scene.live.put(frame, replace(answer, number=1, taken_at=time.time(), tasks=said))
        shown.page.locator(".answer .label", has_text="wet, broken").wait_for()

        labels = shown.page.locator(".answer .label")
        assert labels.all_inner_texts() == ["wet, broken", "none", "cup"]
        titles = [label.get_attribute("title") for label in labels.all()]
        assert titles == ["wet 90\u202f%, broken 60\u202f%", "none", "cup"]
        assert shown.page.locator(".answer .percent").all_inner_texts() == [
            "90\u202f%",
            "–",
            "80\u202f%",
        ]
        assert shown.complaints == []


def test_a_page_that_nobody_sees_takes_nothing(moving: Scene, tab: Callable[..., Tab]) -> None:
    hide = """hidden => {
        Object.defineProperty(document, 'hidden', { value: hidden, configurable: true });
        document.dispatchEvent(new Event('visibilitychange'));
    }"""
    with moving.page() as page:
        shown = tab(page.url)
        live_picture(shown)
        until(lambda: not all(connection.idle for connection in served(page)))
        shown.page.evaluate(hide, True)
        until(lambda: all(connection.idle for connection in served(page)))
        assert shown.page.locator("#notice").is_hidden()
        shown.page.evaluate("window.before = document.querySelector('.line').getAttribute('d')")
        shown.page.evaluate(hide, False)
        shown.until("document.querySelector('.line').getAttribute('d') !== window.before")
        assert shown.complaints == []

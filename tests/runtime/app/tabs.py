"""Pages in a real Chromium, and what they complain about."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from tests.runtime.app.conftest import until

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, ViewportSize

DESKTOP: ViewportSize = {"width": 1280, "height": 800}


class Tab:
    """A page of the browser, and all that it complained about and asked for.

    Attributes:
        page: Playwright's.
        complaints: Errors and warnings of the console, and exceptions.
        hosts: That it asked, each with its port.
    """

    def __init__(self, browser: Browser, **options: Any) -> None:
        options.setdefault("viewport", DESKTOP)
        self.page: Page = browser.new_context(**options).new_page()
        self.page.set_default_timeout(10_000)
        self.complaints: list[str] = []
        self.hosts: set[str] = set()
        self.page.on("console", self._heard)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.hosts.add(urlsplit(request.url).netloc))

    def close(self) -> None:
        self.page.context.close()

    def text(self, selector: str) -> str:
        return self.page.locator(selector).first.inner_text()

    def until(self, condition: str) -> None:
        """Wait until an expression of the page is true."""
        until(lambda: self.page.evaluate(condition))  # Playwright's own waiting needs eval

    def names(self) -> list[str]:
        """Give the tasks of the answers shown."""
        return self.page.locator(".answer .task").all_inner_texts()

    def colour(self) -> list[int]:
        """Give red, green, blue and opacity in the middle of the picture."""
        seen: list[int] = self.page.locator("canvas").first.evaluate(
            """shown => {
                const options = { willReadFrequently: true };
                const one = new OffscreenCanvas(1, 1).getContext("2d", options);
                one.drawImage(shown, -shown.width / 2, -shown.height / 2);
                return [...one.getImageData(0, 0, 1, 1).data];
            }"""
        )
        return seen

    def colours(self, *selectors: str) -> list[list[int]]:
        """Give the red, green and blue of the texts."""
        texts = self.page.evaluate(
            "all => all.map(one => getComputedStyle(document.querySelector(one)).color)",
            list(selectors),
        )
        return [[int(part) for part in re.findall(r"\d+", text)[:3]] for text in texts]

    def _heard(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)


def live(tab: Tab) -> None:
    tab.page.locator("body[data-link=live] .camera").first.wait_for()


def live_picture(tab: Tab) -> None:
    live(tab)
    tab.page.locator(".blank").first.wait_for(state="hidden")

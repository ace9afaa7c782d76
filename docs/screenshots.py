"""Take the two screenshots of the README and the site anew, of a demo that has run.

    make demo
    .venv/bin/python docs/screenshots.py demo-output

It needs Chromium, and the extras `dev` and `page`.
"""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image
from playwright.sync_api import sync_playwright

if TYPE_CHECKING:
    from playwright.sync_api import Page

ASSETS = Path(__file__).parent / "assets"
REPORT_SIZE = (900, 1400)  # pixels; the report goes on below
PAGE_SIZE = (1280, 806)
WATCHED_MS = 60_000  # the curves of the page show the last minute
COLOURS = 200  # of the palette: a third of the bytes, and no difference to be seen


def main() -> None:
    """Take both."""
    demo = Path(sys.argv[1]).resolve()
    program = shutil.which("chromium") or shutil.which("google-chrome")
    run = [sys.executable, "-m", "snow_deploy", "run", str(demo / "snow.onnx")]
    camera = ["--camera", "yard=synthetic://", "--port", "0", "--output", "none"]
    with (
        sync_playwright() as playwright,
        subprocess.Popen([*run, *camera], stderr=subprocess.PIPE, text=True) as process,
    ):
        try:
            browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
            page = browser.new_page(viewport=_size(REPORT_SIZE))
            page.goto((demo / "report.html").as_uri())
            _save(page, "demo-report.png")
            page = browser.new_page(viewport=_size(PAGE_SIZE))
            assert process.stderr is not None
            page.goto(process.stderr.readline().removeprefix("live page: ").strip())
            page.wait_for_timeout(WATCHED_MS)
            _save(page, "live-page.png")
            browser.close()
        finally:
            process.terminate()


def _size(size: tuple[int, int]) -> dict[str, int]:
    return {"width": size[0], "height": size[1]}


def _save(page: Page, name: str) -> None:
    picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    palette = picture.quantize(COLOURS)
    dithered = picture.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG)
    dithered.save(ASSETS / name, optimize=True)
    print(f"{name}: {(ASSETS / name).stat().st_size:,} bytes")


if __name__ == "__main__":
    main()

"""Take the two screenshots of the README and the site anew, of a demo that has run.

    make demo
    .venv/bin/python docs/screenshots.py demo-output

It needs Chromium, and the extras `camera`, `dev` and `page`.
"""

from __future__ import annotations

import io
import itertools
import json
import math
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image
from playwright.sync_api import sync_playwright

from snow_deploy.data import open_data
from snow_deploy.demo.walk import DemoOptions

if TYPE_CHECKING:
    from playwright.sync_api import Page

ASSETS = Path(__file__).parent / "assets"
REPORT_SIZE = (900, 1400)  # pixels; the report goes on below
PAGE_SIZE = (1280, 1010)
WATCHED_MS = 60_000  # the curves of the page show the last minute
FPS = 10
SHOWN_S = 6  # so long each picture is shown
FRAME = (1280, 720)
SIDE = 480  # of the picture in the middle of the frame
ASKED = """
model = {graph}
output = "none"

[cameras.belt]
address = {camera}

[cameras.belt.views.middle]
box = [0.3125, 0.1667, 0.6875, 0.8333]

[questions.shape]
task = "shape"
view = "middle"

[questions.colour]
task = "colour"
view = "middle"

[questions.digit]
task = "digit"
view = "middle"

[states]
agree = "3/5"

[page]
port = 0
"""
COLOURS = 200  # of the palette: a third of the bytes, and no difference to be seen


def main() -> None:
    """Take both."""
    demo = Path(sys.argv[1]).resolve()
    program = shutil.which("chromium") or shutil.which("google-chrome")
    run = [sys.executable, "-m", "snow_deploy", "run", "--config"]
    with (
        tempfile.TemporaryDirectory() as folder,
        sync_playwright() as playwright,
        ThreadingHTTPServer(("127.0.0.1", 0), _Belt) as belt,
    ):
        threading.Thread(target=belt.serve_forever, daemon=True).start()
        config = Path(folder) / "snow.toml"
        graph = json.dumps(str(demo / "snow.onnx"))
        camera = json.dumps(f"http://127.0.0.1:{belt.server_address[1]}/")
        config.write_text(ASKED.format(graph=graph, camera=camera), encoding="utf-8")
        process = subprocess.Popen([*run, config], stderr=subprocess.PIPE, text=True)
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
            process.wait()
            belt.shutdown()


class _Belt(BaseHTTPRequestHandler):
    """A camera of Motion JPEG that shows some of the demo's test pictures, one after another."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        pictures = open_data(DemoOptions().data("shape")).final[1]
        with suppress(OSError):  # until nobody looks any more
            for number in itertools.count():
                jpeg = _jpeg(pictures.load(number // (FPS * SHOWN_S)), number)
                self.wfile.write(b"--frame\r\nContent-Type: image/jpeg\r\n")
                self.wfile.write(b"Content-Length: %d\r\n\r\n%b\r\n" % (len(jpeg), jpeg))
                time.sleep(1 / FPS)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


def _jpeg(picture: Image.Image, number: int) -> bytes:
    """Put a picture into the middle of a frame; it sways, for equal frames are left out."""
    frame = Image.new("RGB", FRAME, (60, 60, 60))
    left, top = ((whole - SIDE) // 2 for whole in FRAME)
    frame.paste(picture.resize((SIDE, SIDE)), (left + round(8 * math.sin(number / 5)), top))
    stream = io.BytesIO()
    frame.save(stream, "JPEG", quality=92)
    return stream.getvalue()


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

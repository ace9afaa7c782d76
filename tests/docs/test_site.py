"""The documentation as a site: built strictly, made of the code where it can be, self-contained."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from snow_deploy.cli import main
from tests.docs.blocks import ROOT
from tests.docs.test_links import PACKAGES, command_anchors, public_names

if TYPE_CHECKING:
    from pathlib import Path

_FETCHED = re.compile(
    r"""<(?:script|img|iframe|source|audio|video|embed)\b[^>]*\ssrc(?:set)?="?([^"\s>]+)"""
    r"""|<link\b[^>]*\shref="?([^"\s>]+)|url\(["']?([^"')]+)""",
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the site as `make docs` does, elsewhere."""
    for name in ("material", "mkdocs_click", "mkdocstrings"):
        pytest.importorskip(name, reason="the extra `docs` is not installed")
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def ids(page: Path) -> set[str]:
    return set(re.findall(r'\bid="?([^"\s>]+)', page.read_text(encoding="utf-8")))


@pytest.mark.slow
def test_the_site_has_what_is_made_of_the_code_and_fetches_nothing(site: Path) -> None:
    commands = set(command_anchors(main, "snow-deploy"))
    names = {name for package in PACKAGES for name in public_names(package)}
    architecture = (site / "reference/architecture.html").read_text(encoding="utf-8")

    assert commands <= ids(site / "reference/cli.html")
    assert {name for name in names if not name.endswith(".__version__")} <= ids(
        site / "reference/api.html"
    )
    assert "<code>engine/</code>" in architecture
    assert ":<code>" not in (site / "reference/api.html").read_text(encoding="utf-8")
    assert (site / "changelog.html").is_file()
    assert (site / "search/search_index.js").is_file()  # what the search of pages on a disk reads
    fetched = {
        f"{path.relative_to(site)}: {url}"
        for path in site.rglob("*")
        if path.suffix in {".html", ".css", ".svg"}
        for found in _FETCHED.findall(path.read_text(encoding="utf-8"))
        for url in found
        if urlsplit(url).netloc
    }
    assert not fetched
    assert not [page for page in site.rglob("*.html") if 'class="mermaid"' in page.read_text()]

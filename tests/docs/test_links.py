"""Every link of a document leads somewhere, on a forge as well as on the site."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import click
import pytest

from snow_deploy.cli import main
from tests.docs.blocks import ROOT

if TYPE_CHECKING:
    from pathlib import Path

DOCS = ROOT / "docs"
DOCUMENTS = sorted(
    path.relative_to(ROOT)
    for path in [
        *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md")),
        *DOCS.rglob("*.md"),
    ]
)
_LINKS = re.compile(r"""\]\(<?([^)\s>]+)>?(?:\s"[^"]*")?\)|(?:src|srcset|href)="([^"]+)\"""")
PACKAGES = ("snow_runtime", "snow_deploy", "snow_export", "snow_calibration")


def prose(path: Path) -> str:
    """Return a document without its code."""
    text = (ROOT / path).read_text(encoding="utf-8")
    text = re.sub(r"^[ ]*```(?:.|\n)*?^[ ]*```", "", text, flags=re.MULTILINE)
    return re.sub(r"`[^`\n]*`", lambda code: code[0].replace("](", ""), text)


def anchors(path: Path) -> set[str]:
    """Return the anchors that a forge makes of a document's headings, and those of the site's.

    The reference pages are made when the site is built, from commands and docstrings.
    """
    headings = re.findall(r"^#+ +(.+)$", prose(path), flags=re.MULTILINE)
    found = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
    if path.name == "cli.md":
        found |= set(command_anchors(main, "snow-deploy"))
    if path.name == "api.md":
        found |= {name for package in PACKAGES for name in public_names(package)}
    return found


def command_anchors(command: click.Command, path: str) -> list[str]:
    """Return the anchors of a command's heading, and of those below it."""
    found = [path.replace(" ", "-")]
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            found += command_anchors(below, f"{path} {name}")
    return found


def public_names(package: str) -> list[str]:
    module = __import__(package)
    return [package, *(f"{package}.{name}" for name in getattr(module, "__all__", ()))]


@pytest.mark.parametrize("document", DOCUMENTS, ids=str)
def test_every_relative_link_resolves(document: Path) -> None:
    here = (ROOT / document).parent
    for link in _LINKS.finditer(prose(document)):
        target = link[1] or link[2]
        if re.match(r"[a-z]+:", target):
            continue  # elsewhere
        name, _, anchor = target.partition("#")
        linked = (here / name).resolve() if name else ROOT / document
        assert linked.exists(), f"{document} links to {target}, which does not exist"
        assert here == ROOT or linked.is_relative_to(DOCS), (
            f"{document} links to {target}, which is not part of the site"
        )
        if anchor:
            assert anchor in anchors(linked), f"{document} links to {target}: no such heading"


def test_the_list_of_decisions_is_complete() -> None:
    records = {path.name for path in (DOCS / "adr").glob("0*.md")}
    listed = re.findall(r"\]\((0[\w-]+\.md)\)", (DOCS / "adr/index.md").read_text("utf-8"))

    assert sorted(listed) == sorted(records)


def test_the_command_line_has_an_anchor_for_each_command() -> None:
    found = command_anchors(main, "snow-deploy")

    assert {"snow-deploy-train", "snow-deploy-paper-table3"} <= set(found)
    assert len(found) > 20

"""Every command of the README and the guide, typed as it stands there, or marked with a reason."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from snow_deploy.cli import COMMANDS, main
from tests.docs.blocks import ROOT, SHELLS, blocks, documents, marks
from tests.docs.checks import check_answers, check_cameras, check_what_was_made
from tests.docs.sandbox import MADE_BY, Sandbox
from tests.docs.test_links import DOCUMENTS

if TYPE_CHECKING:
    from pathlib import Path

# Languages of blocks that nobody types, or that are tested where they are used.
SHOWN = frozenset(
    {"text", "json", "nginx", "caddyfile", "ini", "yaml", "toml", "csv", "dockerfile"}
)
REASON = re.compile(r"(needs|takes) \S.{3,}")
LARGEST_SHARE = 1 / 3  # of the blocks with commands that no test runs
# `PAGES=training,export make test-all ARGS=tests/docs` types these alone.
PAGES = [name for name in os.environ.get("PAGES", "").split(",") if name]


@pytest.mark.slow
@pytest.mark.tensorrt
@pytest.mark.timeout(600)
def test_every_command_runs(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("av")
    folder = tmp_path_factory.mktemp("documents")
    monkeypatch.chdir(folder)
    monkeypatch.setenv("SNOW_DEPLOY_CACHE", str(folder / "cache"))
    sandbox = Sandbox(folder)
    wrong: list[str] = []

    for document in documents():
        if PAGES and document.stem not in PAGES:
            continue
        for block in blocks(document):
            wrong += sandbox.type_block(block)
        sandbox.restore()

    for words, seconds in sandbox.seconds.items():  # shown by `pytest -rP`
        print(f"{seconds:6.1f} s  snow-deploy {' '.join(words)}")  # noqa: T201
    assert not wrong, "\n\n".join(wrong)
    if PAGES:
        return
    sandbox.make(*MADE_BY)
    check_what_was_made(sandbox)
    predicted = CliRunner().invoke(main, ["predict", "snow.onnx", "photo.jpg", "--json"])
    check_answers(predicted.stdout, sandbox.printed[()])
    check_cameras(folder)


@pytest.mark.parametrize("document", documents(), ids=str)
def test_a_block_has_a_language_and_a_mark_a_reason(document: Path) -> None:
    found = blocks(document)
    typed = [block for block in found if block.language in SHELLS | {"python"}]

    for block in found:
        where = f"{block.document}:{block.line}"
        assert block in typed or block.language in SHOWN, f"{where}: {block.language!r}"
        assert block in typed or not re.search(r"^\$ |^snow-deploy ", block.text, re.MULTILINE), (
            f"{where}: commands stand in `sh` blocks, or behind `$ ` in `console` blocks"
        )
        assert not block.not_run or REASON.fullmatch(block.not_run), (
            f"{where}: {block.not_run!r} says neither what it needs nor how long it takes"
        )
    assert marks(document) == sum(bool(block.not_run) for block in found), (
        "a mark `<!-- not run: reason -->` stands right above its block"
    )


def test_most_blocks_are_run() -> None:
    typed = [
        block
        for document in documents()
        for block in blocks(document)
        if block.language in SHELLS | {"python"}
    ]
    left_out = [f"{block.document}:{block.line}" for block in typed if block.not_run]

    assert len(typed) > 20
    assert len(left_out) <= LARGEST_SHARE * len(typed), left_out


@pytest.mark.parametrize("document", DOCUMENTS, ids=str)
def test_commands_of_every_document_exist(document: Path) -> None:
    """Of the laboratory and the changelog too, which nobody types from the top."""
    text = (ROOT / document).read_text(encoding="utf-8")
    lines = re.findall(r"^(?:\$ |\.venv/bin/)?snow-deploy ([a-z][a-z-]*)", text, re.MULTILINE)
    inline = re.findall(r"`snow-deploy ([a-z][a-z-]*)[ `]", text)

    assert {*lines, *inline} <= set(COMMANDS)

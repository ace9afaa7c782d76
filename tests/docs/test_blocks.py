"""What is read off a document's blocks, and that nothing slips through."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from snow_deploy import __version__
from tests.docs.blocks import Block, blocks_of
from tests.docs.command_line import read
from tests.docs.sandbox import look_at

PAGE = Path("page.md")


def one(text: str) -> Block:
    (block,) = blocks_of(text, PAGE)
    return block


def test_a_mark_belongs_to_the_block_below_it() -> None:
    text = "<!-- not run: needs a\n     Jetson -->\n\n```sh\na b\n```\n\n```sh\nc\n```\n"

    marked, plain = blocks_of(text, PAGE)

    assert (marked.not_run, marked.line, marked.text) == ("needs a Jetson", 5, "a b\n")
    assert (plain.not_run, plain.line, plain.language) == ("", 9, "sh")


def test_lines_are_joined_split_and_stripped_of_remarks() -> None:
    block = one("```sh\n# first\na 'b c' \\\n  d  # why\n\nX=1 e > f.json\n```\n")

    first, second = block.commands()

    assert first.words == ("a", "b c", "d")
    assert first.line == 3
    assert (second.words, second.variables, second.output) == (("e",), (("X", "1"),), "f.json")


def test_a_block_in_a_list_loses_its_indentation() -> None:
    block = one("- item:\n\n  ```python\n  if a:\n      b()\n\n  c()\n  ```\n")

    assert block.text == "if a:\n    b()\n\nc()\n"


def test_in_a_console_only_what_follows_the_prompt_is_typed() -> None:
    block = one("```console\n$ a b\nsaid a b\n$ c\n```\n")

    assert [command.words for command in block.commands()] == [("a", "b"), ("c",)]


@pytest.mark.parametrize("line", ["a | b", "a && b", "a; b", "a &", "a uri://?x=1&y=2"])
def test_more_than_one_command_a_line_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match="one a line"):
        one(f"```sh\n{line}\n```\n").commands()
    assert one(f"<!-- not run: needs b -->\n```sh\n{line}\n```\n").commands()


@pytest.mark.parametrize(
    "words",
    [
        "trian --task a",
        "train --taks a",
        "paper table99",
        "paper",
        "export --layout fuesd",
        "export --batch many",
        "run x.onnx --every 0 --camera a",
    ],
)
def test_a_command_that_click_would_refuse_is_refused(words: str) -> None:
    with pytest.raises(click.UsageError):
        read(words.split())


def test_a_command_is_put_together_as_it_was() -> None:
    words = "paper figure4 --data a=demo:shape --batch ft=2 --schemes=fo,ft --download"

    line = read(words.split())

    assert line.path == ("paper", "figure4")
    assert line.values("--batch") == ["ft=2"]
    assert line.words() == words.replace("=fo", " fo").split()


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        ("pip install -e .[train,export,cpu]", ""),
        (f"pip install dist/snow_deploy-{__version__}-py3-none-any.whl[cpu]", ""),
        ("pip install dist/snow_deploy-0.0.9-py3-none-any.whl[cpu]", "this version"),
        ("pip install -e .[trian]", "no such extra"),
        ("pip install snow-deploy[cpu]", "no package index"),
        ("python3 -m pip install snow-deploy", "no package index"),
        ("make demo", ""),
        ("make coffee", "Makefile"),
        ("curl http://127.0.0.1", "not run: needs"),
    ],
)
def test_commands_that_are_not_ours_are_looked_at(words: str, fault: str) -> None:
    program, *rest = words.split()

    said = look_at(program, rest)

    assert fault in said
    assert bool(said) == bool(fault)

"""The code blocks of the README and the guide, and what of them is typed into a shell."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
README = Path("README.md")
GUIDE = Path("docs/guide")

SHELLS = frozenset({"sh", "console"})
_FENCE = re.compile(
    r"^(?P<indent>[ ]*)```(?P<language>[\w-]*)[^\n]*\n(?P<text>.*?)^(?P=indent)```",
    re.MULTILINE | re.DOTALL,
)
_MARK = re.compile(r"<!-- not run: (?P<reason>(?:(?!-->).)*?) -->\s*\Z", re.DOTALL)
_BETWEEN = frozenset("|&;<>")  # what stands between commands, or sends their output elsewhere
_VARIABLE = re.compile(r"[A-Z_]+=")


@dataclass(frozen=True)
class Command:
    """One command, as it is typed.

    Attributes:
        line: Where it stands in its document, from 1.
        words: The program and its arguments.
        variables: What is set for it alone, as in `NAME=value program`.
        output: The file that gets what it prints, as in `program > file`; empty for none.
    """

    line: int
    words: tuple[str, ...]
    variables: tuple[tuple[str, str], ...] = ()
    output: str = ""


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        document: Relative to the repository.
        line: Of its first line of code, from 1.
        language: As the fence says; empty without.
        text: Without the fences and their indentation.
        not_run: Why no test types it; empty where one does.
    """

    document: Path
    line: int
    language: str
    text: str
    not_run: str = ""

    def commands(self) -> list[Command]:
        """Return what is typed: in `console` blocks what follows `$ `, in `sh` every line.

        Raises:
            ValueError: A line that is to be run is more than one command.
        """
        commands = []
        for number, line in _whole_lines(self.text):
            if self.language == "console" and not line.startswith("$ "):
                continue
            text = line.removeprefix("$ ") if self.language == "console" else line
            commands += self._read(self.line + number, text)
        return commands

    def _read(self, number: int, text: str) -> list[Command]:
        reader = shlex.shlex(text, posix=True, punctuation_chars="".join(_BETWEEN))
        reader.whitespace_split = True
        tokens = list(reader)
        output = tokens.pop() if tokens[-2:-1] == [">"] else ""
        parts: list[list[str]] = [[]]
        for token in tokens[:-1] if output else tokens:
            if set(token) <= _BETWEEN:
                parts.append([])
            else:
                parts[-1].append(token)
        if len(parts) > 1 and not self.not_run:
            msg = f"line {number}: {text!r} is more than one command: type one a line, no pipes"
            raise ValueError(msg)
        return [_command(number, words, output) for words in parts if words]


def documents() -> list[Path]:
    """Return the README and the pages of the guide, the README first."""
    return [README, *sorted(path.relative_to(ROOT) for path in (ROOT / GUIDE).glob("*.md"))]


def blocks(document: Path) -> list[Block]:
    """Return a document's blocks, in order."""
    return blocks_of((ROOT / document).read_text(encoding="utf-8"), document)


def blocks_of(text: str, document: Path) -> list[Block]:
    """Return a text's blocks, in order."""
    found = []
    for fence in _FENCE.finditer(text):
        indent = len(fence["indent"])
        code = "".join(line[indent:] or "\n" for line in fence["text"].splitlines(keepends=True))
        mark = _MARK.search(text[: fence.start()])
        line = text[: fence.start("text")].count("\n") + 1
        reason = " ".join(mark["reason"].split()) if mark else ""
        found.append(Block(document, line, fence["language"], code, reason))
    return found


def marks(document: Path) -> int:
    """Count the marks of a document, before a block or not."""
    return (ROOT / document).read_text(encoding="utf-8").count("<!-- not run")


def _whole_lines(text: str) -> list[tuple[int, str]]:
    """Return the lines with something in them, continued ones joined, with their numbers."""
    lines: list[tuple[int, str]] = []
    continued = False
    for number, line in enumerate(text.splitlines()):
        more = line.endswith("\\")
        part = line.removesuffix("\\").strip()
        if continued:
            lines[-1] = (lines[-1][0], f"{lines[-1][1]} {part}")
        elif part and not part.startswith("#"):
            lines.append((number, part))
        continued = more and bool(lines)
    return lines


def _command(number: int, words: list[str], output: str) -> Command:
    variables = []
    while words and _VARIABLE.match(words[0]):
        name, _, value = words.pop(0).partition("=")
        variables.append((name, value))
    return Command(number, tuple(words), tuple(variables), output)

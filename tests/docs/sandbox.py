"""A folder in which the documents' commands are typed, one after another."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import time
import traceback
from pathlib import Path

import click
from click.testing import CliRunner

from snow_deploy import __version__
from snow_deploy.cli import main
from tests.docs.blocks import README, ROOT, SHELLS, Block, Command
from tests.docs.command_line import CommandLine, read
from tests.docs.photos import draw_photos, save_source
from tests.docs.stand_ins import put_stand_ins, stand_in_python
from tests.test_project import project

RTX = importlib.util.find_spec("tensorrt_rtx_bindings") is not None

# What the documents take for granted, each with the commands that make it. Where a document makes
# it by other means, the others find it as it was all the same.
_PHOTOS = "imagefolder:photos"
_FEW = "--recipe steady --epochs 15 --batch-size 32"
MADE_BY = {
    "store": (
        f"train --task textures --data {_PHOTOS}/textures {_FEW}",
        f"train --task clothing --data {_PHOTOS}/clothing {_FEW}",
    ),
    "snow.onnx": ("export --tasks textures,clothing -o snow.onnx",),
    "snow.int8.onnx": (f"calibrate snow.onnx --data {_PHOTOS}/textures --data {_PHOTOS}/clothing",),
    "snow.engine": ("build-engine snow.onnx --fp16",),
    "snow.int8.engine": ("build-engine snow.int8.onnx --int8",),
}
# Nothing that a test would learn from.
HARMLESS = {
    ("cd", "snow-deploy"),
    (".", ".venv/bin/activate"),
    ("cp", "demo-output/snow.onnx", "snow.onnx"),
}
BUILD = {"build-engine", "cost"}  # by TensorRT-RTX
# Run by a test of its own, which takes long enough.
ELSEWHERE = {"demo": "tests/deploy/demo/test_demo_command.py"}
HOURS = {"paper"}
DEMO = "demo-output/snow.onnx"  # what `demo` leaves, as its own test sees
OUTPUTS = {"-o", "--output", "--keep", "--record"}
EXIT_CODES = {"doctor": {0, 1}}  # a GPU may be asked for


class Sandbox:
    """What the documents' paths name, and what commands have left there.

    Args:
        folder: Empty; the current one while commands run.

    Attributes:
        printed: Standard output of each command that ran, by its words, and of the README's Python
            under none.
        seconds: Of the processor, that each took.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.printed: dict[tuple[str, ...], str] = {}
        self.seconds: dict[tuple[str, ...], float] = {}
        self._code: set[str] = set()
        self._kept = folder.parent / f"{folder.name}-kept"
        draw_photos(folder, 12)
        save_source(folder / "source.pth")

    def type_block(self, block: Block) -> list[str]:
        """Type a block's commands; return what went wrong, a line for each."""
        wrong = []
        if block.language == "python":
            where = f"{block.document}:{block.line}"
            wrong += [f"{where}: {fault}" for fault in self._python(block, where)]
        try:
            commands = block.commands() if block.language in SHELLS else []
        except ValueError as error:
            return [f"{block.document}: {error}"]
        for command in commands:
            where = f"{block.document}:{command.line}: {' '.join(command.words)}"
            try:
                fault = self.type_command(command, run=not block.not_run)
            except (click.ClickException, ValueError) as error:
                fault = str(error) or repr(error)
            wrong += [f"{where}: {fault}"] if fault else []
        return wrong

    def type_command(self, command: Command, *, run: bool = True) -> str:
        """Type a command, once; return what went wrong, or nothing.

        Raises:
            click.UsageError: There is no such command or option.
        """
        words = list(command.words)
        program = words.pop(0).removeprefix(".venv/bin/")
        if program == "torchrun":
            program, words = "snow-deploy", _behind(words, ("-m", "snow_deploy"))
        if program in {"python", "python3"} and words[:2] == ["-m", "snow_deploy"]:
            program, words = "snow-deploy", words[2:]
        if program != "snow-deploy":
            return "" if not run else look_at(program, words)
        if words and words[0] in {"--help", "--version"}:
            return ""
        line = read(words)
        if not run:
            return ""
        if line.name in HOURS:
            return "no test has the time; say so above the block: <!-- not run: takes hours -->"
        if line.name in ELSEWHERE:
            return "" if (ROOT / ELSEWHERE[line.name]).is_file() else "no test runs it"
        fault = self._run(tuple(words), line, dict(command.variables))
        if command.output and not fault:
            said = self.printed.get(tuple(words), "")
            (self.folder / command.output).write_text(said, encoding="utf-8")
        return fault

    def make(self, *names: str) -> None:
        """Make what is not there of :data:`MADE_BY`, and can be made here.

        Raises:
            ValueError: Its own command fails.
        """
        for name in names:
            if (RTX or not name.endswith(".engine")) and not (self.folder / name).exists():
                for text in MADE_BY[name]:
                    self._make_by(text)

    def restore(self) -> None:
        """Put what :data:`MADE_BY` lists back as its own commands made it.

        Another document that makes it otherwise by the same words as this one does so again.
        """
        own = {command for commands in MADE_BY.values() for command in commands}
        for words in [*self.printed]:
            if MADE_BY.keys() & {*words} and OUTPUTS & {*words} and " ".join(words) not in own:
                del self.printed[words]
        for name in MADE_BY:
            for path in self.folder.glob(f"{name}*"):
                if path.name in {name, f"{name}.json"}:
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
                    kept = self._kept / path.name
                    if kept.exists():
                        _link(kept, path)

    def _run(self, words: tuple[str, ...], line: CommandLine, variables: dict[str, str]) -> str:
        if words in self.printed:
            return ""
        line.arguments = ["snow.onnx" if word == DEMO else word for word in line.arguments]
        if not self._make_what_is_read(line):
            return ""
        put_stand_ins(line)
        typed = [part for word in line.words() for part in _spread(word)]
        began = time.process_time()
        result = CliRunner().invoke(main, typed, env=dict(variables))
        self.seconds[words] = time.process_time() - began
        if result.exit_code not in EXIT_CODES.get(line.name, {0}):
            fault = None if isinstance(result.exception, SystemExit) else result.exception
            at = traceback.format_exception(fault) if fault else []
            return f"exit code {result.exit_code}: {result.output[-600:]} {''.join(at)[-800:]}"
        self.printed[words] = result.stdout
        for name, commands in MADE_BY.items():
            if " ".join(words) == commands[-1]:
                self._keep(name)
        return ""

    def _make_what_is_read(self, line: CommandLine) -> bool:
        """Make what a command reads and is not there; tell whether it can be run here."""
        if line.name in BUILD and not RTX:
            return False
        values = [value for name, value in line.options if value and name not in OUTPUTS]
        defaults = [
            str(option.default)
            for option in line.command.params
            if not OUTPUTS.intersection(option.opts) and option.default is not None
        ]
        read_here = {*line.arguments, *values, *defaults} if line.name != "train" else set()
        needed = [name for name in MADE_BY if name in read_here]
        if not RTX and any(name.endswith(".engine") for name in needed):
            return False
        self.make(*needed)
        return True

    def _make_by(self, text: str) -> None:
        words = tuple(text.split())
        self.printed.pop(words, None)
        fault = self._run(words, read(words), {})
        if fault:
            msg = f"what the documents take for granted could not be made: {text}: {fault}"
            raise ValueError(msg)

    def _keep(self, name: str) -> None:
        for path in (self.folder / name, self.folder / f"{name}.json"):
            kept = self._kept / path.name
            if path.exists() and not kept.exists():
                kept.parent.mkdir(exist_ok=True)
                _link(path, kept)

    def _python(self, block: Block, where: str) -> list[str]:
        try:
            code = compile(stand_in_python(block.text), where, "exec", dont_inherit=True)
        except SyntaxError as error:
            return [str(error)]
        if block.not_run or block.text in self._code:
            return []
        self.make(*(name for name in MADE_BY if f'"{name}"' in block.text))
        self._code.add(block.text)
        if block.document == README:
            return self._python_of_its_own(block.text)
        try:
            exec(code, {"__name__": "__main__"})  # noqa: S102 - the documents' own
        except Exception as error:  # noqa: BLE001 - whatever it raises is the finding
            return [f"{type(error).__name__}: {error}"]
        return []

    def _python_of_its_own(self, text: str) -> list[str]:
        """Run Python in a new process, in which PyTorch must not be imported."""
        code = f"{text}\nimport sys\nassert 'torch' not in sys.modules\n"
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=False
        )
        self.printed[()] = done.stdout
        return [done.stderr] if done.returncode else []


def _link(here: Path, there: Path) -> None:
    """Copy a file or a folder by links: what writes here writes new files."""
    if here.is_dir():
        shutil.copytree(here, there, copy_function=os.link)
    else:
        os.link(here, there)


def _behind(words: list[str], mark: tuple[str, str]) -> list[str]:
    for number in range(len(words)):
        if tuple(words[number : number + 2]) == mark:
            return words[number + 2 :]
    msg = f"{' '.join(words)} does not start `-m snow_deploy`"
    raise ValueError(msg)


def _spread(word: str) -> list[str]:
    """Do as a shell does with `photos/*.jpg`."""
    found = (
        sorted(map(str, Path().glob(word))) if re.fullmatch(r"[\w./-]*\*[\w./*-]*", word) else []
    )
    return found or [word]


def look_at(program: str, words: list[str]) -> str:
    """Check a command that is not ours without running it; return what is wrong."""
    if program in {"pip", "pip3"} or (
        program in {"python", "python3"} and words[:2] == ["-m", "pip"]
    ):
        return _installs(words)
    if program == "make":
        targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
        named = [word for word in words if "=" not in word]
        return "" if set(named) <= set(targets) else f"the Makefile makes none of {named}"
    if program in {"python", "python3"} and words[:2] == ["-m", "venv"]:
        return ""
    if (program, *words) in HARMLESS:
        return ""
    return f"no test types {program}; say why above the block: <!-- not run: needs … -->"


def _installs(words: list[str]) -> str:
    """Check that extras exist, and that nobody is sent to an index which doesn't have us."""
    extras = set(project()["project"]["optional-dependencies"])
    for word in words:
        named = re.search(r"\[([a-z,]+)\]$", word)
        if named and not set(named[1].split(",")) <= extras:
            return f"there is no such extra: {word}"
        if re.match(r"snow-deploy\b", word):
            return f"{word} is on no package index: name the clone, '.[…]', or the wheel's file"
        if "snow_deploy-" in word and f"snow_deploy-{__version__}-py3-none-any.whl" not in word:
            return f"{word} is not this version's wheel, {__version__}"
    return ""

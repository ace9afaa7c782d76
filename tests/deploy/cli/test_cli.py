from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from types import ModuleType
from typing import NoReturn

import click
import pytest
from click.testing import CliRunner, Result

from snow_deploy import __version__
from snow_deploy.cli import COMMANDS, main
from snow_deploy.cli.group import module_of
from snow_runtime.errors import SnowError
from snow_runtime.install_hint import pip_install

HEAVY = {"PIL", "lightning", "numpy", "onnx", "onnxruntime", "rich", "torch", "torchvision"}


def loaded_by(code: str) -> set[str]:
    """Run `code` in a fresh interpreter and return the top-level modules that it loaded."""
    script = f"import sys\n{code}\nprint('\\n'.join(sys.modules))"
    output = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    ).stdout
    loaded = {name.partition(".")[0] for name in output.splitlines()}
    assert "snow_deploy" in loaded  # the list got through
    return loaded


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> click.Command:
    """Put in the place of `predict` a command whose callback a test chooses."""
    command = click.Command("predict")
    module = ModuleType("snow_deploy.cli.broken")
    module.__dict__["command"] = command
    monkeypatch.setitem(sys.modules, module_of("predict"), module)
    return command


def fail_with(command: click.Command, error: BaseException, *args: str) -> Result:
    def callback() -> NoReturn:
        raise error

    command.callback = callback
    return CliRunner().invoke(main, [*args, "predict"])


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_option_has_help(name: str) -> None:
    command = import_module(module_of(name)).command

    assert isinstance(command, click.Command)
    assert command.name == name
    assert command.help
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, f"{name}: {parameter.opts} has no help text"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_answers_help(name: str) -> None:
    result = CliRunner().invoke(main, [name, "--help"])

    assert result.exit_code == 0
    assert f"{name} [OPTIONS]" in result.output


def test_help_lists_every_command_and_fits_the_terminal() -> None:
    output = CliRunner().invoke(main, ["--help"]).output

    for name, entry in COMMANDS.items():
        assert f"  {name}" in output
        assert entry.summary in output
    assert max(len(line) for line in output.splitlines()) <= 80


@pytest.mark.parametrize("arguments", [["--help"], ["--version"]])
def test_help_and_version_import_nothing_heavy(arguments: list[str]) -> None:
    code = f"from snow_deploy.cli import main\nmain({arguments!r}, standalone_mode=False)"

    assert loaded_by(code).isdisjoint(HEAVY)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_module_imports_nothing_heavy(name: str) -> None:
    assert loaded_by(f"import {module_of(name)}").isdisjoint(HEAVY)


def test_version() -> None:
    result = CliRunner().invoke(main, ["--version"])

    assert result.output == f"snow-deploy {__version__}\n"


@pytest.mark.parametrize("module", ["snow_deploy", "snow_deploy.cli"])
def test_the_module_runs_as_the_command_does(module: str) -> None:
    completed = subprocess.run(
        [sys.executable, "-m", module, "--version"],
        capture_output=True,
        text=True,
        check=True,
    )

    assert completed.stdout == f"snow-deploy {__version__}\n"


@pytest.mark.parametrize("name", sorted(COMMANDS))
@pytest.mark.parametrize("count", ["1", "2"])
def test_only_train_runs_in_several_processes(
    monkeypatch: pytest.MonkeyPatch, name: str, count: str
) -> None:
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    monkeypatch.setenv("WORLD_SIZE", count)

    result = CliRunner().invoke(main, [name, "--help"])

    refused = count == "2" and name != "train"
    assert result.exit_code == (2 if refused else 0)
    assert (f"{name} works in one process, and torchrun has started 2." in result.output) is refused


def test_an_unknown_command_suggests_the_nearest() -> None:
    result = CliRunner().invoke(main, ["trian"])

    assert result.exit_code == 2
    assert "No such command 'trian'. Did you mean 'train'?" in result.output


def test_a_command_like_no_other_lists_them_all() -> None:
    result = CliRunner().invoke(main, ["xyz"])

    assert result.exit_code == 2
    assert f"Commands: {', '.join(sorted(COMMANDS))}." in result.output


def test_a_snow_error_is_one_line_on_stderr(broken: click.Command) -> None:
    result = fail_with(broken, SnowError("the store is empty; train a task first"))

    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr == "error: the store is empty; train a task first\n"


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (PermissionError(13, "Permission denied", "a"), "Give this user access to it"),
        (FileNotFoundError(2, "No such file or directory", "a"), "Correct the path."),
        (IsADirectoryError(21, "Is a directory", "a"), "Correct the path."),
        (OSError(36, "File name too long", "a"), "Correct the path."),
        (OSError(28, "No space left on device", "a"), "Look whether the disk is full"),
    ],
)
def test_what_the_system_refuses_comes_with_its_advice(
    broken: click.Command, error: OSError, advice: str
) -> None:
    result = fail_with(broken, error)

    assert result.exit_code == 1
    assert result.stderr.startswith(f"error: {error}. {advice}")
    assert len(result.stderr.splitlines()) == 1


def test_debug_raises_the_error_itself(broken: click.Command) -> None:
    error = SnowError("the store is empty")

    result = fail_with(broken, error, "--debug")

    assert result.exit_code == 1
    assert result.exception is error


@pytest.mark.parametrize("debug", [False, True])
def test_a_traceback_is_shown_with_debug_only(*, debug: bool) -> None:
    script = (
        "import sys, types, click\n"
        "from snow_runtime.errors import SnowError\n"
        "def callback():\n"
        "    raise SnowError('no such store')\n"
        "module = types.ModuleType('fake')\n"
        "module.command = click.Command('predict', callback=callback)\n"
        "sys.modules['snow_deploy.cli.predict'] = module\n"
        "from snow_deploy.cli import main\n"
        "main()\n"
    )
    options = ["--debug"] if debug else []
    completed = subprocess.run(
        [sys.executable, "-c", script, *options, "predict"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert completed.returncode == 1
    assert ("Traceback" in completed.stderr) is debug
    assert "no such store" in completed.stderr


def test_an_interrupt_exits_as_shells_expect(broken: click.Command) -> None:
    result = fail_with(broken, KeyboardInterrupt())

    assert result.exit_code == 130
    assert result.stderr == "interrupted\n"


def test_a_missing_library_names_the_extra(broken: click.Command) -> None:
    result = fail_with(broken, ModuleNotFoundError("No module", name="onnxruntime.capi"))

    assert result.exit_code == 1
    assert "needs onnxruntime" in result.stderr
    assert pip_install("cpu") in result.stderr


def test_a_missing_module_of_our_own_is_a_bug_and_stays_one(broken: click.Command) -> None:
    error = ModuleNotFoundError("No module", name="snow_runtime.typo")

    assert fail_with(broken, error).exception is error

"""`snow-deploy run --follow`: the agent within the program that answers."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from click.core import ParameterSource

from snow_deploy.cli.follow_options import FOLLOW_PARAMETERS, agent_options, transport_of
from snow_deploy.cli.options import refuse_without, warn_of_secrets
from snow_runtime.errors import MissingDependencyError
from snow_runtime.install_hint import pip_install

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import ExitStack
    from pathlib import Path

    import click

    from snow_runtime.app.outputs.box_status import BoxStatusPublisher
    from snow_runtime.update.agent import Agent
    from snow_runtime.update.box import Box
    from snow_runtime.update.program import WithinProgram

_END_S: Final = 2.0


class Follower:
    """Brings releases to a loop, and takes them back.

    Args:
        box: Folder of the box.
        make: Function that makes the agent of a program.
    """

    def __init__(self, box: Box, make: Callable[[WithinProgram], Agent]) -> None:
        from snow_runtime.update.program import WithinProgram

        self._box = box
        self._reload: Callable[[], str | None] | None = None
        self._totals: Callable[[], tuple[int, int, float]] | None = None
        self._attaching = threading.Lock()  # held while a loop comes, goes or loads anew
        self._missed = False  # a switch while no loop was there
        self._program = WithinProgram(self._load_anew, self._counts)
        self._agent = make(self._program)
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def begin(self) -> None:
        """Set right what a power cut left; where the box has nothing yet, get the first release.

        Raises:
            UpdateError: The first release cannot be had.
            OSError: The pointer cannot be set.
        """
        from snow_runtime.update.errors import UpdateError

        self._agent.recover()
        if self._agent.state.wanted is None:
            state = self._agent.step()
            if self._agent.state.wanted is None:
                why = self._agent.error or f"there is none for it ({state})"
                msg = f"The box has no release yet, and cannot get one: {why}"
                raise UpdateError(msg)

    def name_files(self, context: click.Context) -> None:
        """Name the present release's model and readouts where the command line names none."""
        release = self._box.release(self._box.pointed())
        if release is None:
            return
        current = self._box.current
        if _is_default(context, "model"):
            graph = current / release.model
            context.params["model"] = (
                graph if release.engine is None else graph.with_suffix(".engine")
            )
        if _is_default(context, "readouts"):
            context.params["readouts"] = tuple(current / each for each in release.readouts)

    @contextmanager
    def attached(
        self, reload: Callable[[], str | None], totals: Callable[[], tuple[int, int, float]]
    ) -> Iterator[None]:
        """Within it, releases go to a loop; one that came while there was none goes to it first.

        Args:
            reload: Function that loads the model anew, and returns why that failed.
            totals: Function that returns what the loop has counted.
        """
        with self._attaching:
            self._reload, self._totals = reload, totals
            why = reload() if self._missed else None
            self._missed = False
        if why is not None:
            self._program.fail(why)
        if self._thread is None:
            self._agent.begin()
            arguments = (self._stop,)
            self._thread = threading.Thread(
                target=self._agent.rounds, args=arguments, name="follow", daemon=True
            )
            self._thread.start()
        try:
            yield
        finally:
            with self._attaching:
                self._reload = self._totals = None

    def fail(self, why: str) -> None:
        """Note that a plan did not come to run."""
        self._program.fail(why)

    def close(self) -> None:
        """Bring no more releases; a download that is under way is not waited for."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(_END_S)

    def _load_anew(self) -> str | None:
        with self._attaching:
            self._missed = self._reload is None
            return None if self._reload is None else self._reload()

    def _counts(self) -> Any:
        from snow_runtime.update.health import ProgramCounts

        totals = self._totals
        return None if totals is None else ProgramCounts(*totals())


def follower_of(context: click.Context, stack: ExitStack) -> Follower | None:
    """Make what `--follow` asks for, and have it begin; None where nothing is asked.

    Args:
        context: The command's.
        stack: Ends it.

    Raises:
        click.UsageError: Options of a box without `--follow`, or the box has no folder.
        SnowError: The box trusts nobody yet, or has no release and cannot get one.
    """
    given = context.params
    if given["follow"] is None:
        refuse_without("--follow", FOLLOW_PARAMETERS)
        return None
    options = agent_options(given)
    try:
        from snow_runtime.update.agent import Agent
        from snow_runtime.update.box import Box
    except ModuleNotFoundError as error:
        msg = f"--follow needs {error.name}, which is not installed; run: {pip_install('agent')}"
        raise MissingDependencyError(msg) from error
    warn_of_secrets([given["follow"]])
    folder: Path = given["box"]
    box, transport = Box(folder), transport_of(given["follow"], given)
    stack.enter_context(box.alone())
    box.root(options.root)
    publisher = _publisher(given)
    tell = None if publisher is None else publisher.put
    follower = Follower(box, lambda program: Agent(box, transport, program, options, tell=tell))
    if publisher is not None:
        stack.callback(publisher.close)
    stack.callback(follower.close)
    follower.begin()
    return follower


def _publisher(given: dict[str, Any]) -> BoxStatusPublisher | None:
    """Make what tells the broker that gets the answers, if there is one."""
    from snow_runtime.app.outputs.box_status import BoxStatusPublisher
    from snow_runtime.app.outputs.mqtt_broker import MqttOptions
    from snow_runtime.secret_references import resolve_secrets

    if given["output"] != "mqtt" or given["mqtt"] is None:
        return None
    options = MqttOptions(*(given[name] for name in ("mqtt_ca", "mqtt_cert", "mqtt_key")))
    return BoxStatusPublisher(resolve_secrets(given["mqtt"], escape=True), options)


def _is_default(context: click.Context, name: str) -> bool:
    return context.get_parameter_source(name) is ParameterSource.DEFAULT

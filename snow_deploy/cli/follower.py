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
    from collections.abc import Callable, Iterator, Mapping
    from contextlib import ExitStack
    from pathlib import Path

    import click

    from snow_deploy.cli.run_options import RunOptions
    from snow_runtime.app.outputs.box_status import BoxStatusPublisher
    from snow_runtime.update.agent import Agent
    from snow_runtime.update.box import Box
    from snow_runtime.update.program import WithinProgram
    from snow_runtime.update.status import BoxStatus

_END_S: Final = 2.0


class StatusTeller:
    """Tells the broker that gets the answers how the box does, if there is one.

    Another configuration may name another broker, or other secrets of it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by: tuple[Any, ...] | None = None
        self._publisher: BoxStatusPublisher | None = None
        self._last: BoxStatus | None = None

    def put(self, status: BoxStatus) -> None:
        """Tell a status."""
        with self._lock:
            self._last = status
            if self._publisher is not None:
                self._publisher.put(status)

    def follow(self, options: RunOptions) -> None:
        """Tell by the broker of a plan from now on."""
        named = ("mqtt_ca", "mqtt_cert", "mqtt_key")
        self.tell_by(options.output, options.mqtt, {each: getattr(options, each) for each in named})

    def tell_by(self, output: str, mqtt: str | None, files: Mapping[str, Any]) -> None:
        """Tell by a broker from now on; by none where answers go elsewhere.

        Raises:
            InputError: Its address is none, or its certificates cannot be used.
        """
        from snow_runtime.app.outputs.box_status import BoxStatusPublisher
        from snow_runtime.app.outputs.mqtt_broker import MqttOptions
        from snow_runtime.secret_references import resolve_secrets

        url = None if output != "mqtt" or mqtt is None else resolve_secrets(mqtt, escape=True)
        named = tuple(files[each] for each in ("mqtt_ca", "mqtt_cert", "mqtt_key"))
        with self._lock:
            if self._by == (url, *named):
                return
            old, self._by = self._publisher, (url, *named)
            self._publisher = None if url is None else BoxStatusPublisher(url, MqttOptions(*named))
            if self._publisher is not None and self._last is not None:
                self._publisher.put(self._last)
        if old is not None:  # it may wait for a broker that is gone
            threading.Thread(target=old.close, name="old status", daemon=True).start()

    def close(self) -> None:
        """Tell nothing more."""
        with self._lock:
            if self._publisher is not None:
                self._publisher.close()


class Follower:
    """Brings releases to a loop, and takes them back.

    Args:
        box: Folder of the box.
        make: Function that makes the agent of a program.
        teller: What tells a broker how the box does; None for nobody.
    """

    def __init__(
        self, box: Box, make: Callable[[WithinProgram], Agent], teller: StatusTeller | None = None
    ) -> None:
        from snow_runtime.update.program import WithinProgram

        self._box = box
        self._teller = teller
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

    def tell_by(self, options: RunOptions) -> None:
        """Tell how the box does by the broker of a plan that came to run."""
        if self._teller is not None:
            self._teller.follow(options)

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
    teller = StatusTeller()
    teller.tell_by(given["output"], given["mqtt"], given)
    stack.callback(teller.close)
    follower = Follower(
        box, lambda program: Agent(box, transport, program, options, tell=teller.put), teller
    )
    stack.callback(follower.close)
    follower.begin()
    return follower


def _is_default(context: click.Context, name: str) -> bool:
    return context.get_parameter_source(name) is ParameterSource.DEFAULT

"""Shards scored by Ray Data: a pipeline of actors, each with a process that holds a model.

Rows of the pipeline are shards, and its answers what became of each: pictures and answers never
pass through Ray's object store. What Ray restarts when an actor or a machine is lost does a shard
again, whose part takes its name once. Pictures that end a process end the actor's child only.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from snow_runtime.errors import SnowError
from snow_runtime.score.errors import ScoreError
from snow_runtime.score.events import Died, Event, Failed, Finished
from snow_runtime.score.import_score import import_score
from snow_runtime.score.parts import PartSummary
from snow_runtime.score.pool import ProcessPool
from snow_runtime.score.shard_worker import Order

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from snow_runtime.score.options import RayOptions
    from snow_runtime.score.shard_worker import Setup

LOCAL: Final = "local"
_SILENT: Final = {
    "RAY_USAGE_STATS_ENABLED": "0",  # else it reports to usage-stats.ray.io
    "RAY_enable_metrics_collection": "0",
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
}
_ALONE: Final = {
    # It then listens on the loopback address only; on Linux it takes the machine's otherwise.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_AUTH_MODE": "token",
}


def begin_ray(address: str) -> None:
    """Connect to a cluster, or start a Ray of this machine alone that nobody else can reach.

    Ray's statistics of use and its dashboard are off, unless the user's environment says otherwise.

    Args:
        address: Address of a cluster, `auto`, or `local`.

    Raises:
        ScoreError: There is no cluster at the address.
        MissingDependencyError: Ray is not installed.
    """
    for name, value in {**_SILENT, **(_ALONE if address == LOCAL else {})}.items():
        os.environ.setdefault(name, value)
    if address == LOCAL:
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    ray = import_score("ray")
    import_score("ray.data")
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    if ray.is_initialized():
        return
    here = {"include_dashboard": False} if address == LOCAL else {}
    try:
        ray.init(
            address=address,
            log_to_driver=False,
            logging_level=logging.ERROR,
            configure_logging=True,
            **here,
        )
    except (ConnectionError, ValueError, RuntimeError, OSError) as error:
        msg = (
            f"No Ray answers at {address}: {error}. Start one with `ray start --head "
            "--disable-usage-stats`, or give --ray local."
        )
        raise ScoreError(msg) from error


@dataclass(frozen=True)
class RayActors:
    """Actors that score shards, as many as there is work and room for.

    Attributes:
        setup: What each needs to begin.
        options: How many there are, and what each takes.
    """

    setup: Setup
    options: RayOptions

    def run(self, orders: Iterable[Order]) -> Iterator[Event]:
        """Score shards and yield what happens.

        Raises:
            ScoreError: The output refuses a part, or an actor cannot begin.
        """
        data = import_score("ray.data")
        data.DataContext.get_current().enable_progress_bars = False
        items = [
            {"number": order.number, "begin": order.begin, "end": order.end} for order in orders
        ]
        fewest, most = self.options.actors
        self._check_room(min(fewest, len(items)))
        shards = data.from_items(items, override_num_blocks=len(items))
        told = shards.map_batches(
            _Actor,
            fn_constructor_args=(self.setup,),
            batch_size=1,
            batch_format="numpy",
            compute=data.ActorPoolStrategy(
                min_size=min(fewest, len(items)), max_size=min(most, len(items))
            ),
            num_cpus=0 if self.options.gpus else 1,
            num_gpus=self.options.gpus or None,
        )
        try:
            for row in told.iter_rows():
                yield from _events(int(row["number"]), json.loads(row["told"]))
        except import_score("ray").exceptions.RayError as error:
            msg = (
                f"Ray gave the job up: {str(error).strip().splitlines()[-1]} Run the same command "
                "again: it goes on where it was."
            )
            raise ScoreError(msg) from error

    def _check_room(self, fewest: int) -> None:
        """Refuse what Ray would wait for without end: a cluster may grow, this machine does not.

        Raises:
            ScoreError: There is no room for the fewest actors.
        """
        if self.options.address != LOCAL:
            return
        there, gpus = import_score("ray").cluster_resources(), self.options.gpus
        kind, needed = ("GPU", fewest * gpus) if gpus else ("CPU", float(fewest))
        found = float(there.get(kind, 0))
        if needed > found:
            msg = (
                f"{fewest} actors need {needed:g} {kind}s, and Ray has {found:g} here. Give fewer "
                "--actors, or the --ray of a cluster."
            )
            raise ScoreError(msg)

    def close(self) -> None:
        """Do nothing: actors end with the pipeline, the connection with the process."""


def end_ray() -> None:
    """Disconnect from Ray; one that was started here ends."""
    import_score("ray").shutdown()


def _events(number: int, told: dict[str, Any]) -> Iterator[Event]:
    for how in told["died"]:
        yield Died(number, how)
    if told["fatal"]:
        raise ScoreError(told["fatal"])
    if told["failed"]:
        yield Failed(number, told["failed"])
    else:
        yield Finished(number, PartSummary.from_json(told["summary"]))


class _Actor:
    """Scores the shards that come to it, in a process of its own."""

    def __init__(self, setup: Setup) -> None:
        self._pool = ProcessPool(setup, 1)

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[Any]]:
        """Score the shards of a batch, which is one."""
        numbers = [int(number) for number in batch["number"]]
        told = [
            self._told(Order(number, int(begin), int(end)))
            for number, begin, end in zip(numbers, batch["begin"], batch["end"], strict=True)
        ]
        return {"number": numbers, "told": [json.dumps(each) for each in told]}

    def _told(self, order: Order) -> dict[str, Any]:
        found: dict[str, Any] = {"died": [], "fatal": "", "failed": "", "summary": ""}
        try:
            for event in self._pool.run([order]):
                if isinstance(event, Died):
                    found["died"].append(event.how)
                elif isinstance(event, Failed):
                    found["failed"] = event.reason
                elif isinstance(event, Finished):
                    found["summary"] = event.summary.to_json()
        except SnowError as error:
            found["fatal"] = str(error)
        return found

    def __del__(self) -> None:
        """End its process with it."""
        with closing(self._pool):
            pass

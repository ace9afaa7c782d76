"""A whole job: begun or gone on with, until every shard has its part or was given up."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol

from snow_runtime.file_lock import hold_lock
from snow_runtime.score.errors import OutputError, ScoreError
from snow_runtime.score.events import Advanced, Failed, Finished
from snow_runtime.score.import_score import import_score
from snow_runtime.score.inputs import Listing, list_shards
from snow_runtime.score.job import begin_job, describe_job
from snow_runtime.score.locations import parse_location
from snow_runtime.score.output_folder import JOB, OutputFolder, part_name
from snow_runtime.score.parts import SUMMARY_KEY, PartSummary
from snow_runtime.score.rate import Progress
from snow_runtime.score.shard_list import ShardList, read_shard_list, write_shard_list
from snow_runtime.score.shard_worker import Order, Setup

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from snow_runtime.score.events import Event
    from snow_runtime.score.job import Job
    from snow_runtime.score.options import JobFiles, ScoreOptions

_READERS: Final = 8
_EXAMPLES: Final = 5


class Workers(Protocol):
    """What scores shards: processes, or Ray's actors."""

    def run(self, orders: Iterable[Order]) -> Iterator[Event]:
        """Score shards and yield what happens."""

    def close(self) -> None:
        """End what is at work."""


@dataclass
class ScoreOutcome:
    """What a job came to.

    Attributes:
        rows: Rows that are there, of earlier runs too.
        scored: Rows of this run among them.
        shards: Shards of the job.
        parts: Parts that are there.
        failed: Rows with an error, by where they failed.
        examples: The first of those errors.
        given_up: Shards without a part, each with its reason.
        deaths: Workers that ended and were replaced.
        remarks: What a user should know of the inputs, a sentence each.
        per_second: Pictures a second over the last minute of this run; None where there were none.
    """

    rows: int = 0
    scored: int = 0
    shards: int = 0
    parts: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)
    given_up: dict[int, str] = field(default_factory=dict)
    deaths: int = 0
    remarks: tuple[str, ...] = ()
    per_second: float | None = None

    def add(self, summary: PartSummary) -> None:
        """Count a part."""
        self.rows += summary.rows
        self.parts += 1
        self.failed += summary.failed
        self.examples += summary.examples[: max(0, _EXAMPLES - len(self.examples))]


@dataclass(frozen=True)
class JobNews:
    """How a job tells what happens.

    Attributes:
        progress: Callback, called often, that gets what makes a line of how far it is.
        line: Callback, called seldom, that gets a line about something that happened.
    """

    progress: Callable[[Callable[[], str]], None] = lambda _: None
    line: Callable[[str], None] = lambda _: None


def score(
    files: JobFiles,
    options: ScoreOptions,
    workers: Callable[[Setup], Workers],
    told: JobNews = JobNews(),
    *,
    retry: bool = False,
) -> ScoreOutcome:
    """Score the inputs of a job, or what is missing of it.

    Args:
        files: The model and the output.
        options: What decides the rows.
        workers: Callback that gives what scores the shards.
        told: Callbacks that hear what happens.
        retry: Whether shards that have rows with errors are done again.

    Raises:
        ScoreError: An input, the output or an option does not serve.
        SnowError: The model cannot be loaded.
    """
    import_score("pyarrow")
    for uri in options.inputs:
        parse_location(uri)  # before anything of it is written
    job = describe_job(files, options)
    output = OutputFolder(files.output)
    output.make()
    with ExitStack() as stack:
        alone = False
        if output.local is not None:
            with suppress(OSError):  # a file system without locks: two at once do work twice
                stack.enter_context(hold_lock(output.local / JOB, lambda: _refuse_second(output)))
                output.clear_left()
                alone = True
        begin_job(output, job, alone=alone)
        outcome = ScoreOutcome()
        plan = _planned(output, options, told, outcome)
        done = _summaries(output, job, plan, retry=retry)
        for summary in done.values():
            outcome.add(summary)
        outcome.shards = len(plan)
        setup = Setup(files, options, job.model_sha256, job.key)
        with closing(workers(setup)) as at_work:
            _work(plan, done, at_work, told, outcome)
    return outcome


def _refuse_second(output: OutputFolder) -> None:
    msg = f"Another process scores into {output.uri}. Wait for it, or score into another folder."
    raise ScoreError(msg)


def _planned(
    output: OutputFolder, options: ScoreOptions, told: JobNews, outcome: ScoreOutcome
) -> ShardList:
    """Read the list of shards, or make it."""
    plan = read_shard_list(output)
    if plan is not None:
        return plan
    told.line("listing the inputs")
    listing = Listing()
    plan = write_shard_list(output, list_shards(options, listing))
    remarks = []
    if listing.left_out:
        remarks.append(f"left out of the inputs: {listing.left_out.summary()}")
    if listing.twice:
        remarks.append(f"{listing.twice} files are in several inputs, and count once")
    outcome.remarks = tuple(remarks)
    return plan


def _summaries(
    output: OutputFolder, job: Job, plan: ShardList, *, retry: bool
) -> dict[int, PartSummary]:
    """Read what the parts that are there hold.

    Raises:
        ScoreError: One is of another job.
    """
    numbers = sorted(output.parts())
    with ThreadPoolExecutor(_READERS) as readers:
        found = dict(zip(numbers, readers.map(lambda n: _summary(output, n), numbers), strict=True))
    for number, summary in found.items():
        if summary.key != job.key or number >= len(plan):
            msg = (
                f"{part_name(number)} in {output.uri} is of another job. Score into another "
                "folder, or remove what is not of this one."
            )
            raise ScoreError(msg)
    return {number: summary for number, summary in found.items() if not (retry and summary.failed)}


def _summary(output: OutputFolder, number: int) -> PartSummary:
    pq = import_score("pyarrow.parquet")
    try:
        with output.open(part_name(number)) as stream:
            metadata = pq.read_metadata(stream).metadata or {}
        return PartSummary.from_json(metadata[SUMMARY_KEY])
    except (OSError, ValueError, KeyError) as error:
        why = str(error).rstrip(".")
        msg = (
            f"{part_name(number)} in {output.uri} cannot be read: {why}. Remove it and run the "
            "same command again."
        )
        raise OutputError(msg) from error


def _work(
    plan: ShardList,
    done: dict[int, PartSummary],
    workers: Workers,
    told: JobNews,
    outcome: ScoreOutcome,
) -> None:
    orders: Any = (
        Order(number, plan.places[number], plan.places[number + 1])
        for number in range(len(plan))
        if number not in done
    )
    progress = Progress(plan.rows, {number: summary.rows for number, summary in done.items()})
    told.progress(progress.line)
    if len(done) == len(plan):
        return
    for event in workers.run(orders):
        if isinstance(event, Advanced):
            progress.advanced(event.number, event.rows)
        elif isinstance(event, Finished):
            progress.finished(event.number, event.summary.rows)
            outcome.add(event.summary)
            outcome.scored += event.summary.rows
        elif isinstance(event, Failed):
            progress.failed(event.number)
            outcome.given_up[event.number] = event.reason
            told.line(f"shard {event.number} was given up: {event.reason}")
        else:
            outcome.deaths += 1
            told.line(
                f"a process {event.how} in shard {event.number}, which is done again; pictures "
                "that are too large for the memory do that"
            )
        told.progress(progress.line)
    outcome.per_second = progress.per_second

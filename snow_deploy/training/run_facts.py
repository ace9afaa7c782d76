"""What a run begins with, noted beside its checkpoint: it must be the same when it is resumed."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from snow_deploy.errors import ResumeError, TrainingError
from snow_deploy.training.options import TrainOptions

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class RunFacts:
    """What a task's run begins with.

    Attributes:
        options: How the task is trained.
        labels: What each logit stands for.
        source_sha256: The source's fingerprint.
        data_sha256: That of the data's splits; None in a file from before it was noted.
        after: The fingerprint of the task that it goes on from, if there is one.
        processes: How many share a step, which decides the rate and the number of steps; None in
            a file from before it was noted.
    """

    options: TrainOptions
    labels: tuple[str, ...]
    source_sha256: str
    data_sha256: str | None = None
    after: str | None = None
    processes: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "options": self.options.to_dict(),
            "labels": self.labels,
            "pictures": self.data_sha256,
            "source": self.source_sha256,
            "after": self.after,
            "processes": self.processes,
        }

    def has_other_pictures(self, data_sha256: str | None) -> bool:
        """Tell whether pictures of this fingerprint are others, if both were noted."""
        noted = bool(self.data_sha256) and bool(data_sha256)
        return noted and self.data_sha256 != data_sha256

    def check_same(self, now: RunFacts) -> None:
        """Refuse to resume with other labels or pictures, another source or other options.

        Raises:
            ResumeError: Something is not as when the run began.
        """
        if self.labels != now.labels:
            only_then = sorted(set(self.labels) - set(now.labels))
            only_now = sorted(set(now.labels) - set(self.labels))
            msg = (
                "the data has other labels than the interrupted run: "
                f"gone {only_then or 'none'}, new {only_now or 'none'}. "
                "Resume with the data that the run began with, or start again with --overwrite."
            )
            raise ResumeError(msg)
        changed = self.options.differences(now.options)
        if self.has_other_pictures(now.data_sha256):
            msg = (
                "the data has other pictures than the interrupted run. Resume with the data that "
                "the run began with, or start again with --overwrite."
            )
        elif self.source_sha256 != now.source_sha256:
            msg = (
                f"the interrupted run used the source {self.source_sha256[:12]}, the store now "
                f"holds {now.source_sha256[:12]}. Start again with --overwrite."
            )
        elif self.after != now.after:
            msg = (
                "the task that the interrupted run goes on from was trained anew since. Start "
                "again with --overwrite."
            )
        elif None not in {self.processes, now.processes} and self.processes != now.processes:
            msg = (
                f"the interrupted run had {self.processes} processes, and this one has "
                f"{now.processes}: a step has other pictures, and an epoch other steps. Resume "
                "with as many, or start again with --overwrite."
            )
        elif changed:
            msg = (
                f"the interrupted run had other options ({'; '.join(changed)}). Resume with the "
                "same ones, or start again with --overwrite."
            )
        else:
            return
        raise ResumeError(msg)


def read_facts(path: Path) -> RunFacts:
    """Read the file of what an interrupted run began with.

    Raises:
        ResumeError: It cannot be read.
    """
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        return RunFacts(
            TrainOptions.from_dict(facts["options"]),
            tuple(facts["labels"]),
            facts["source"],
            facts.get("pictures"),
            facts.get("after"),
            facts.get("processes"),
        )
    except (OSError, ValueError, TypeError, KeyError, AttributeError, TrainingError) as error:
        msg = f"{path} cannot be read ({error}). Start again with --overwrite."
        raise ResumeError(msg) from error

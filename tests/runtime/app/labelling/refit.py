"""Something small that fits readouts, for tests of the page: what it tells is counted by hand."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from snow_runtime.errors import ReadoutError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from snow_runtime.collection.collection import Collection


@dataclass(frozen=True)
class Version:
    number: int
    state: str
    created_at: float = 1.7e9
    sha256: str = "c" * 64
    data_sha256: str = "d" * 64
    labels: Any = None
    cross_validated: Any = (0.9, 0.04)
    honest: Any = None
    reason: str = "not worse: 3 better, 1 worse of 30"

    def to_dict(self) -> dict[str, Any]:
        accuracy, error = self.cross_validated
        held = {"accuracy": accuracy, "standard_error": error}
        return {**vars(self), "cross_validated": held, "remarks": ["Two cameras have one moment."]}


class Refit:
    """Has two versions of each question.

    Attributes:
        requested: Questions that a fit was asked for, in turn.
        live: Number of the version that answers.
        shadows: What was asked to answer beside it.
    """

    def __init__(self, collection: Collection) -> None:
        self._collection = collection
        self.requested: list[str] = []
        self.live = 2
        self.shadows: list[tuple[int, float]] = []

    def request(self, question: str) -> None:
        self.requested.append(question)

    def status(self, question: str) -> dict[str, Any]:
        return {"question": question, "phase": "idle", "text": "", "live": self.live}

    def versions(self, question: str) -> Sequence[Version]:
        counts = self._collection.counts(question).by_label
        honest = {"accuracy": 0.85, "low": 0.62, "high": 0.97, "pictures": 20, "moments": 18}
        made = [
            Version(1, "retired", labels={"open": 4, "closed": 4}),
            Version(2, "retired", labels=counts, honest=honest),
            Version(3, "candidate", labels=counts, reason="worse: 1 better, 6 worse of 30"),
        ]
        return [replace(v, state="live") if v.number == self.live else v for v in made]

    def report(self, question: str) -> dict[str, Any]:
        ids = sorted(self._collection.labels(question))
        return {
            "version": self.versions(question)[1].to_dict(),
            "labels": {"open": 10, "closed": 10, "half": 10},
            "pictures": len(ids),
            "moments": len(ids) - 2,
            "confusion": {
                "open": {"open": ids[:10], "closed": ids[10:12], "half": []},
                "closed": {"open": [], "closed": ids[12:20], "half": ids[20:21]},
                "half": {"open": [], "closed": [], "half": ids[21:]},
            },
            "likely_errors": [
                {"id": each, "label": "open", "suggested": "closed", "probability": 0.04}
                for each in ids[10:13]
            ],
            "duplicates": [ids[:2], ids[4:7]],
            "curve": [
                {"fitted_on": size, "wrong": wrong, "answers": 30}
                for size, wrong in ((7, 9), (7, 8), (11, 6), (11, 7), (16, 5), (16, 4), (24, 3))
            ],
            "forecast": {
                "more": 40,
                "accuracy": {"value": 0.95, "low": 0.91, "high": 0.98},
                "advice": "40 labels more of open would help most: perhaps 3.1 points (1.0 to 5.2) "
                "of accuracy.",
            },
        }

    def go_back(self, question: str, number: int) -> None:
        if number not in {1, 2, 3}:
            msg = f"The question {question!r} has no version {number}. Choose 1, 2 or 3."
            raise ReadoutError(msg)
        self.live = number

    def shadow(self, question: str, number: int, seconds: float) -> None:
        del question
        self.shadows.append((number, seconds))

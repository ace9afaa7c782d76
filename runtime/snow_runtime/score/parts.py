"""Rows as a Parquet file: its columns, and what it says of itself.

Axes: F features of the graph.
"""

from __future__ import annotations

import base64
import contextlib
import json
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from snow_runtime._version import __version__
from snow_runtime.score.import_score import import_score

if TYPE_CHECKING:
    from typing import IO, Self

    from numpy.typing import NDArray

    from snow_runtime.graph.manifest import Manifest, TaskEntry
    from snow_runtime.model import Model
    from snow_runtime.score.scorer import ScoredRow

ID: Final = "id"
ERROR: Final = "error"
FEATURES: Final = "features"
MANIFEST_KEY: Final = b"snow_deploy.manifest"
CHECK_KEY: Final = b"snow_deploy.check_features"
SUMMARY_KEY: Final = b"snow_deploy.score"
_GROUP_ROWS: Final = 512
_EXAMPLES: Final = 3


@dataclass
class PartSummary:
    """What a part holds.

    Attributes:
        key: Key of the job that it is of.
        rows: How many rows it has.
        failed: How many of them have an error, by where they failed.
        examples: The first errors.
    """

    key: str
    rows: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)

    def note(self, row: ScoredRow) -> None:
        """Count a row."""
        self.rows += 1
        if row.kind is not None:
            self.failed[row.kind] += 1
            if len(self.examples) < _EXAMPLES:
                self.examples.append(row.error or row.kind)

    def to_json(self) -> str:
        """Write it."""
        return json.dumps(
            {
                "key": self.key,
                "rows": self.rows,
                "failed": dict(self.failed),
                "examples": self.examples,
            }
        )

    @classmethod
    def from_json(cls, text: str | bytes) -> PartSummary:
        """Read it.

        Raises:
            ValueError: It is none.
        """
        try:
            found = json.loads(text)
            return cls(found["key"], found["rows"], Counter(found["failed"]), found["examples"])
        except (TypeError, KeyError) as error:
            msg = f"no summary of a part: {error}"
            raise ValueError(msg) from error


def label_columns(task: TaskEntry) -> tuple[str, str]:
    """Name the columns of a task's labels and of their probabilities."""
    if task.answers == "several":
        return f"{task.name}_labels", f"{task.name}_probabilities"
    return f"{task.name}_label", f"{task.name}_probability"


def all_tasks(model: Model) -> tuple[TaskEntry, ...]:
    """Give the tasks that a model answers, its readouts' last."""
    return (*model.manifest.tasks, *(readout.facts.task for readout in model.readouts))


class PartWriter:
    """Writes rows as a Parquet file, some at a time; a context manager that ends it.

    Args:
        stream: Where it is written.
        model: The model that answers.
        check: float32 `[F]`, features of the check picture; None without features.
        summary: Counter of the rows, written at the end.
    """

    def __init__(
        self,
        stream: IO[bytes],
        model: Model,
        check: NDArray[np.float32] | None,
        summary: PartSummary,
    ) -> None:
        pq = import_score("pyarrow.parquet")
        self._tasks = all_tasks(model)
        self._width = None if check is None else len(check)
        self._schema = _schema(self._tasks, self._width, _metadata(model.manifest, check))
        # Labels repeat; a dictionary of features, which do not, would be built and thrown away.
        repeated = [label_columns(task)[0] for task in self._tasks if task.answers == "one"]
        self._writer = pq.ParquetWriter(
            stream, self._schema, compression="zstd", use_dictionary=repeated
        )
        self._summary = summary
        self._rows: list[ScoredRow] = []

    def write(self, row: ScoredRow) -> None:
        """Write a row."""
        self._summary.note(row)
        self._rows.append(row)
        if len(self._rows) == _GROUP_ROWS:
            self._flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Write what waits and the end of the file, or let go of it after an error."""
        if kind is not None:
            with contextlib.suppress(OSError, ValueError):
                self._writer.close()
            return
        self._flush()
        self._writer.add_key_value_metadata({SUMMARY_KEY.decode(): self._summary.to_json()})
        self._writer.close()

    def _flush(self) -> None:
        if not self._rows:
            return
        pa = import_score("pyarrow")
        rows, self._rows = self._rows, []
        columns: dict[str, Any] = {ID: [_storable(row.id) for row in rows]}
        for task in self._tasks:
            labels, shares = label_columns(task)
            answers = [row.result[task.name] if row.result is not None else None for row in rows]
            if task.answers == "several":
                present = [None if each is None else each.present() for each in answers]
                columns[labels] = [
                    None if each is None else [label for label, _ in each] for each in present
                ]
                columns[shares] = [
                    None if each is None else [share for _, share in each] for each in present
                ]
            else:
                columns[labels] = [None if each is None else each.label for each in answers]
                columns[shares] = [None if each is None else each.probability for each in answers]
        arrays = {
            name: pa.array(values, self._schema.field(name).type)
            for name, values in columns.items()
        }
        if self._width is not None:
            arrays[FEATURES] = _features(rows, self._width)
        arrays[ERROR] = pa.array(
            [None if row.error is None else _storable(row.error) for row in rows], pa.string()
        )
        self._writer.write_table(
            pa.Table.from_arrays([arrays[name] for name in self._schema.names], schema=self._schema)
        )


def _schema(tasks: tuple[TaskEntry, ...], width: int | None, metadata: dict[bytes, bytes]) -> Any:
    pa = import_score("pyarrow")
    fields = [pa.field(ID, pa.string(), nullable=False)]
    for task in tasks:
        labels, shares = label_columns(task)
        several = task.answers == "several"
        fields += [
            pa.field(labels, pa.list_(pa.string()) if several else pa.string()),
            pa.field(shares, pa.list_(pa.float32()) if several else pa.float32()),
        ]
    if width is not None:
        fields.append(pa.field(FEATURES, pa.list_(pa.float16(), width)))
    return pa.schema([*fields, pa.field(ERROR, pa.string())], metadata=metadata)


def _metadata(manifest: Manifest, check: NDArray[np.float32] | None) -> dict[bytes, bytes]:
    found = {MANIFEST_KEY: manifest.to_json().encode(), b"snow-deploy": __version__.encode()}
    if check is not None:
        found[CHECK_KEY] = base64.b64encode(check.astype("<f4").tobytes())
    return found


def _features(rows: list[ScoredRow], width: int) -> Any:
    """Give float16 `[rows, F]` as an array of lists, with nulls where there are none."""
    pa = import_score("pyarrow")
    flat = np.zeros((len(rows), width), np.float16)
    missing = np.zeros(len(rows), np.bool_)
    for index, row in enumerate(rows):
        if row.features is None:
            missing[index] = True
        else:
            flat[index] = row.features
    return pa.FixedSizeListArray.from_arrays(
        pa.array(flat.reshape(-1)), width, mask=pa.array(missing)
    )


def _storable(text: str) -> str:
    """Give a text that is UTF-8: a file's name need not be."""
    return text.encode("utf-8", "backslashreplace").decode()

"""Small archives of pictures, and jobs over them that run in this process."""

from __future__ import annotations

import io
import json
import tarfile
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from snow_runtime import load
from snow_runtime.score.errors import OutputError, ShardError
from snow_runtime.score.events import Failed, Finished
from snow_runtime.score.options import JobFiles, ScoreOptions
from snow_runtime.score.run import score
from snow_runtime.score.shard_worker import ShardWorker

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from snow_runtime.score.events import Event
    from snow_runtime.score.run import ScoreOutcome
    from snow_runtime.score.shard_worker import Order, Setup


@dataclass
class InThisProcess:
    """Scores shards one after another, in this process."""

    setup: Setup
    orders: list[int] = field(default_factory=list)

    def run(self, orders: Iterable[Order]) -> Iterator[Event]:
        worker = ShardWorker(self.setup)
        for order in orders:
            self.orders.append(order.number)
            try:
                yield Finished(order.number, worker.work(order))
            except OutputError:
                raise
            except ShardError as error:
                yield Failed(order.number, str(error))

    def close(self) -> None:
        pass


def picture_bytes(seed: int, kind: str = "PNG") -> bytes:
    """Give a picture of noise, 8 pixels a side, as a file's bytes."""
    pixels = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind)
    return stream.getvalue()


def write_pictures(folder: Path, count: int, first: int = 0) -> list[Path]:
    """Write pictures of noise, and give their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{number:05}.png" for number in range(first, first + count)]
    for number, path in enumerate(paths, first):
        path.write_bytes(picture_bytes(number))
    return paths


def write_tar(path: Path, members: Sequence[tuple[str, bytes]], mode: str = "w") -> None:
    """Write a tar as WebDataset's writer does."""
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))


def run_job(
    model: Path, inputs: Sequence[str | Path], output: str | Path, **options: Any
) -> ScoreOutcome:
    """Score in this process."""
    retry = options.pop("retry", False)
    readouts = tuple(options.pop("readouts", ()))
    workers = options.pop("workers", InThisProcess)
    files = JobFiles(model, readouts, str(output))
    chosen = ScoreOptions(tuple(map(str, inputs)), **options)
    return score(files, chosen, workers, retry=retry)


def rows_of(output: Path) -> list[dict[str, Any]]:
    """Read every row that a job wrote, in the order of its shards."""
    found: list[dict[str, Any]] = []
    for path in sorted(output.glob("part-*.parquet")):
        found += pq.read_table(path).to_pylist()
    return found


def expected_rows(model: Path, pictures: Iterable[tuple[str, bytes]]) -> list[dict[str, Any]]:
    """Ask the model about each picture by itself, as `predict` does."""
    found = []
    with load(model, threads=1) as held:
        for name, content in pictures:
            with Image.open(io.BytesIO(content)) as image:
                result = held(image)
            row: dict[str, Any] = {"id": name}
            for task, answer in result.items():
                row |= {f"{task}_label": answer.label, f"{task}_probability": answer.probability}
            found.append({**row, "error": None})
    return found


def job_record(output: Path) -> dict[str, Any]:
    """Read a job's record."""
    found: dict[str, Any] = json.loads((output / "_job" / "job.json").read_text())
    return found


def write_parquet(path: Path, columns: dict[str, Any], **how: Any) -> None:
    """Write a Parquet file."""
    pq.write_table(pa.table(columns), path, **how)

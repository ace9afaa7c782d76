"""Pictures and parts in a bucket of an S3 server on this machine, which can refuse."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("onnxruntime")
pytest.importorskip("pyarrow")
pytest.importorskip("moto", reason="the extra dev brings moto")

import pyarrow.fs
import pyarrow.parquet as pq

from snow_runtime.score.errors import OutputError
from tests.runtime.readout.graphs import feature_graph
from tests.runtime.score.jobs import (
    InThisProcess,
    expected_rows,
    picture_bytes,
    run_job,
    write_tar,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from snow_runtime.score.shard_worker import Setup

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # moto's own
]


@pytest.fixture(scope="module")
def server() -> Iterator[Any]:
    from moto.server import ThreadedMotoServer

    started = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    started.start()
    yield started
    started.stop()


@pytest.fixture
def options(server: Any, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "one")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "two")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    host, port = server.get_host_and_port()
    return f"?endpoint_override={host}:{port}&scheme=http&region=us-east-1"


@pytest.fixture
def bucket(options: str, tmp_path: Path) -> tuple[Any, str]:
    system, _ = pyarrow.fs.FileSystem.from_uri(f"s3://x{options}&allow_bucket_creation=true")
    name = f"b{abs(hash(tmp_path))}"
    system.create_dir(name)
    return system, name


def put(system: Any, path: str, content: bytes) -> None:
    with system.open_output_stream(path) as stream:
        stream.write(content)


def test_a_bucket_is_scored_into_a_bucket(
    tmp_path: Path, bucket: tuple[Any, str], options: str
) -> None:
    system, name = bucket
    model = feature_graph(tmp_path / "snow.onnx").path
    for number in range(5):
        put(system, f"{name}/in/{number % 2}/{number}.png", picture_bytes(number))
    write_tar(tmp_path / "a.tar", [("k.png", picture_bytes(9))])
    put(system, f"{name}/in/a.tar", (tmp_path / "a.tar").read_bytes())
    job = {"inputs": [f"s3://{name}/in{options}"], "output": f"s3://{name}/out{options}"}

    outcome = run_job(model, **job, shard_rows=3)  # type: ignore[arg-type]
    again = run_job(model, **job, shard_rows=3)  # type: ignore[arg-type]

    found = pq.read_table(f"{name}/out", filesystem=system).to_pylist()
    order = (0, 2, 4, 1, 3)
    expected = expected_rows(
        model,
        [
            (f"s3://{name}/in/a.tar#k.png", picture_bytes(9)),
            *((f"s3://{name}/in/{n % 2}/{n}.png", picture_bytes(n)) for n in order),
        ],
    )
    assert found == expected
    assert (outcome.rows, again.scored) == (6, 0)


def test_a_bucket_that_refuses_ends_the_job_which_goes_on_when_it_takes_again(
    tmp_path: Path, bucket: tuple[Any, str], options: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    system, name = bucket
    model = feature_graph(tmp_path / "snow.onnx").path
    for number in range(4):
        put(system, f"{name}/in/{number}.png", picture_bytes(number))
    job = {"inputs": [f"s3://{name}/in{options}"], "output": f"s3://{name}/out{options}"}
    refusing = {"on": True}

    from moto.s3.responses import S3Response

    put_object = S3Response.put_object

    def put_or_refuse(self: Any) -> Any:
        if refusing["on"] and "incoming" in self.path:
            return 403, {}, b"<Error><Code>AccessDenied</Code></Error>"
        return put_object(self)

    monkeypatch.setattr(S3Response, "put_object", put_or_refuse)
    monkeypatch.setattr(S3Response, "create_multipart_upload", put_or_refuse, raising=False)

    def workers(setup: Setup) -> InThisProcess:
        return InThisProcess(setup)

    refusing["on"] = False
    monkeypatch.setattr(InThisProcess, "run", _first_then(refusing, InThisProcess.run))
    with pytest.raises(OutputError, match=r"cannot be written: .*goes on where it was"):
        run_job(model, **job, shard_rows=1, workers=workers)  # type: ignore[arg-type]
    refusing["on"] = False
    monkeypatch.undo()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "one")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "two")
    outcome = run_job(model, **job, shard_rows=1)  # type: ignore[arg-type]

    found = pq.read_table(f"{name}/out", filesystem=system).to_pylist()
    assert [row["id"] for row in found] == [f"s3://{name}/in/{n}.png" for n in range(4)]
    assert outcome.rows == 4
    # The second part may have its name already when the store refuses what comes with a rename.
    assert outcome.scored in (2, 3)


def _first_then(refusing: dict[str, bool], run: Any) -> Any:
    """Let the first part through, and refuse what comes after it."""

    def events(self: InThisProcess, orders: Any) -> Any:
        for event in run(self, orders):
            refusing["on"] = True
            yield event

    return events

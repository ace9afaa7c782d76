from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

from click.testing import CliRunner

from snow_deploy.cli import main
from tests.runtime.readout.graphs import feature_graph, make_readout

if TYPE_CHECKING:
    from pathlib import Path

    from snow_deploy.training.store import Store


def test_a_graph_in_words(graph_path: Path) -> None:
    result = CliRunner().invoke(main, ["inspect", str(graph_path)])

    assert result.exit_code == 0, result.stderr
    output = result.stdout
    for expected in (
        "separate deltas, fp32, opset 17, 4 nodes",
        "'image' float32 [any, 3, 8, 8], NCHW, rgb",
        "'food' float32 [any, 30]",
        "small, 12 parameters, sha256 aaaaaaaaaaaa",
        "short side to 9, centre 8 x 8, mean 0.485 0.456 0.406",
        "task food  sha256 bbbbbbbbbbbb",
        "30 labels  dish 0, dish 1,",
        " more)",
        "2 subscriptions  K 2 to 3, N/K 2, widths over 8",
        "metrics  accuracy 0.75",
        "versions  onnx 1.20",
    ):
        assert expected in output
    assert "dish 29" not in output
    assert "0 2 5" not in output


def test_indices_in_full(graph_path: Path) -> None:
    output = CliRunner().invoke(main, ["inspect", "--indices", str(graph_path)]).stdout

    assert "layer1.conv  K 2   1 3\n" in output
    assert "layer2.conv  K 3   0 2 5\n" in output


def test_json_is_complete(graph_path: Path) -> None:
    result = CliRunner().invoke(main, ["inspect", "--json", str(graph_path)])

    document = json.loads(result.stdout)
    assert document["kind"] == "graph"
    assert len(document["tasks"][0]["labels"]) == 30
    assert document["tasks"][0]["selections"]["layer2.conv"] == [0, 2, 5]
    macs = {share["owner"]: share["macs"] for share in document["shares"]}
    assert macs == {"source": 12 * 64, "food": 120}


def test_a_graph_needs_no_torch(graph_path: Path) -> None:
    code = (
        "import sys\nsys.modules['torch'] = None\nfrom snow_deploy.cli import main\n"
        f"main(['inspect', {str(graph_path)!r}])"
    )
    completed = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )

    assert completed.returncode == 0, completed.stderr


def test_a_store_in_words(trained_store: Store) -> None:
    result = CliRunner().invoke(main, ["inspect", str(trained_store.root)])

    assert result.exit_code == 0, result.stderr
    assert "resnet18" in result.stdout
    assert "(digit, shape)" in result.stdout
    assert "16 subscriptions  K 8 to 64, N/K 8, widths over 8" in result.stdout
    assert "trained  2 epochs, batch 16" in result.stdout


def test_an_error_is_one_line(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["inspect", str(tmp_path)])

    assert result.exit_code == 1
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1


def test_a_readout(tmp_path: Path) -> None:
    readout = make_readout(feature_graph(tmp_path / "graph.onnx"))
    path = tmp_path / "door.readout"
    readout.write(path)

    shown = CliRunner().invoke(main, ["inspect", str(path)])
    assert shown.exit_code == 0, shown.stderr
    for expected in (
        "door.readout  readout, ",
        "fitted  on 30 pictures, accuracy 0.9 ± 0.02 by cross-validation, penalty 0.1",
        "source  small, ",
        "picture  short side to 8, centre 8 x 8",
        "task door  sha256 ",
        "3 labels  cat, dog, none",
        "reads 5 features  block 3, stem 2",
        "versions  snow-deploy 1",
    ):
        assert expected in shown.stdout

    document = json.loads(CliRunner().invoke(main, ["inspect", "--json", str(path)]).stdout)
    assert document["kind"] == "readout"
    assert document["fit"]["counts"] == [10, 10, 10]
    assert document["shares"] == [{"owner": "door", "parameters": 18, "macs": 15, "image_size": 8}]

    path.write_bytes(path.read_bytes()[:-1])
    damaged = CliRunner().invoke(main, ["inspect", str(path)])
    assert damaged.exit_code == 1
    assert "door.readout is damaged or of another kind" in damaged.stderr

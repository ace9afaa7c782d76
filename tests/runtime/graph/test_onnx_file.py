from __future__ import annotations

from typing import TYPE_CHECKING

import onnx
import pytest
from onnx.external_data_helper import set_external_data

from snow_runtime.errors import GraphError, ManifestError
from snow_runtime.graph.manifest import Manifest, Preprocessing, SourceEntry, TaskEntry
from snow_runtime.graph.onnx_file import read_graph

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import MakeModel


def manifest(size: int = 8, labels: int = 5) -> Manifest:
    return Manifest(
        source=SourceEntry("small", "a" * 64, 112),
        preprocessing=Preprocessing.for_size(size),
        tasks=(TaskEntry("food", "food", tuple("abcdefgh"[:labels])),),
    )


@pytest.fixture
def saved(tmp_path: Path, make_model: MakeModel) -> Path:
    path = tmp_path / "graph.onnx"
    onnx.save(make_model(), path)
    return path


def test_a_graph_of_other_origin_has_no_manifest(saved: Path) -> None:
    file = read_graph(saved)

    assert file.manifest is None
    assert [str(spec) for spec in file.inputs] == ["'image' float32 [any, 3, 8, 8]"]
    assert [str(spec) for spec in file.outputs] == ["'food' float32 [any, 5]"]


def test_the_manifest_is_read(tmp_path: Path, make_model: MakeModel) -> None:
    path = tmp_path / "graph.onnx"
    onnx.save(make_model(metadata=manifest().to_json()), path)

    assert read_graph(path).manifest == manifest()


@pytest.mark.parametrize("written", [manifest(size=16), manifest(labels=4)], ids=["size", "labels"])
def test_a_manifest_that_disagrees(
    tmp_path: Path, make_model: MakeModel, written: Manifest
) -> None:
    path = tmp_path / "graph.onnx"
    onnx.save(make_model(metadata=written.to_json()), path)

    with pytest.raises(ManifestError, match="The graph and its manifest disagree"):
        read_graph(path)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.99])
def test_a_truncated_file(saved: Path, share: float) -> None:
    content = saved.read_bytes()
    saved.write_bytes(content[: int(len(content) * share)])

    with pytest.raises(GraphError, match=r"no complete, valid ONNX graph: .+ Copy it again"):
        read_graph(saved)


def test_a_file_of_another_kind(tmp_path: Path) -> None:
    path = tmp_path / "graph.onnx"
    path.write_text("no graph at all\n" * 20)

    with pytest.raises(GraphError, match="no complete, valid ONNX graph"):
        read_graph(path)


def test_an_invalid_graph(saved: Path) -> None:
    model = onnx.load(saved)
    model.graph.node[0].input[0] = "nowhere"
    saved.write_bytes(model.SerializeToString())

    with pytest.raises(GraphError, match="nowhere"):
        read_graph(saved)


def test_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    with pytest.raises(GraphError, match="does not exist, expected an ONNX file"):
        read_graph(tmp_path / "graph.onnx")
    with pytest.raises(GraphError, match="is a folder, expected an ONNX file"):
        read_graph(tmp_path)


def test_weights_beside_the_graph_are_read(tmp_path: Path, make_model: MakeModel) -> None:
    path = tmp_path / "graph.onnx"
    onnx.save(make_model(), path, save_as_external_data=True, location="w.bin", size_threshold=0)

    read, kept = (m.graph.initializer for m in (read_graph(path).model, make_model()))
    assert [tensor.raw_data for tensor in read] == [tensor.raw_data for tensor in kept]


def external(path: Path, model: onnx.ModelProto, location: str) -> None:
    tensor = model.graph.initializer[0]
    content = tensor.raw_data
    set_external_data(tensor, location, offset=0, length=len(content))
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    path.write_bytes(model.SerializeToString())


@pytest.mark.parametrize("location", ["../outside.bin", "{parent}/outside.bin", "link.bin"])
def test_weights_outside_the_folder(tmp_path: Path, make_model: MakeModel, location: str) -> None:
    folder = tmp_path / "graphs"
    folder.mkdir()
    (tmp_path / "outside.bin").write_bytes(b"\0" * 1000)
    (folder / "link.bin").symlink_to(tmp_path / "outside.bin")
    path = folder / "graph.onnx"
    external(path, make_model(), location.format(parent=tmp_path))

    with pytest.raises(
        GraphError, match=r"keeps the weights of 'w1' in .*, outside its own folder"
    ):
        read_graph(path)


@pytest.mark.parametrize(
    ("key", "value"), [("offset", "-4"), ("length", "x"), ("location", "w\0.bin")]
)
def test_a_place_of_weights_that_makes_no_sense(
    tmp_path: Path, make_model: MakeModel, key: str, value: str
) -> None:
    (tmp_path / "w.bin").write_bytes(b"\0" * 432)
    external(tmp_path / "graph.onnx", make_model(), "w.bin")
    model = onnx.load(tmp_path / "graph.onnx", load_external_data=False)
    tensor = next(each for each in model.graph.initializer if each.external_data)
    entries = {each.key: each.value for each in tensor.external_data} | {key: value}
    del tensor.external_data[:]
    for name, text in entries.items():
        tensor.external_data.add(key=name, value=text)
    (tmp_path / "graph.onnx").write_bytes(model.SerializeToString())

    with pytest.raises(GraphError):
        read_graph(tmp_path / "graph.onnx")


@pytest.mark.parametrize(
    ("content", "seen"), [(None, "does not exist"), (b"\0" * 12, "has 12 bytes")]
)
def test_weights_that_are_not_all_there(
    tmp_path: Path, make_model: MakeModel, content: bytes | None, seen: str
) -> None:
    if content is not None:
        (tmp_path / "w.bin").write_bytes(content)
    external(tmp_path / "graph.onnx", make_model(), "w.bin")

    with pytest.raises(GraphError, match=rf"{seen}, expected 432 bytes or more"):
        read_graph(tmp_path / "graph.onnx")


@pytest.mark.parametrize("what", ["IR version", "operator set"])
def test_a_graph_of_the_future_is_no_damaged_one(
    tmp_path: Path, make_model: MakeModel, what: str
) -> None:
    model = make_model()
    if what == "IR version":
        model.ir_version = onnx.IR_VERSION + 1
    else:
        model.opset_import[0].version = onnx.defs.onnx_opset_version() + 1
    path = tmp_path / "graph.onnx"
    path.write_bytes(model.SerializeToString())

    with pytest.raises(GraphError, match=rf"has {what} \d+, and onnx .* Update onnx") as caught:
        read_graph(path)
    assert "Copy it again" not in str(caught.value)


def test_outputs_that_are_no_tensors_are_listed(tmp_path: Path, make_model: MakeModel) -> None:
    model = make_model()
    nodes = [
        onnx.helper.make_node("SequenceConstruct", ["pool", "pool"], ["parts"]),
        onnx.helper.make_node("Optional", ["pool"], ["perhaps"]),
    ]
    model.graph.node.extend(nodes)
    tensor = onnx.helper.make_tensor_type_proto(onnx.TensorProto.FLOAT, None)
    optional = onnx.helper.make_optional_type_proto(tensor)
    sequence = onnx.helper.make_tensor_sequence_value_info("parts", onnx.TensorProto.FLOAT, None)
    perhaps = onnx.helper.make_value_info("perhaps", optional)
    model.graph.output.extend([sequence, perhaps])
    path = tmp_path / "graph.onnx"
    onnx.save(model, path)

    dtypes = {spec.name: spec.dtype for spec in read_graph(path).outputs}
    assert dtypes == {"food": "float32", "parts": "sequence", "perhaps": "optional"}


def test_a_task_that_answers_with_a_sequence(tmp_path: Path, make_model: MakeModel) -> None:
    model = make_model(metadata=manifest().to_json())
    model.graph.node[-1].output[0] = "logits"
    model.graph.node.append(onnx.helper.make_node("SequenceConstruct", ["logits"], ["food"]))
    sequence = onnx.helper.make_tensor_sequence_value_info("food", onnx.TensorProto.FLOAT, None)
    model.graph.output[0].CopyFrom(sequence)
    path = tmp_path / "graph.onnx"
    onnx.save(model, path)

    with pytest.raises(ManifestError, match=r"the graph has 'food' sequence .* expected 'food' fl"):
        read_graph(path)


def test_an_axis_that_another_exporter_left_open(tmp_path: Path, make_model: MakeModel) -> None:
    path = tmp_path / "graph.onnx"
    onnx.save(make_model(batch=-1), path)

    assert str(read_graph(path).inputs[0]) == "'image' float32 [any, 3, 8, 8]"

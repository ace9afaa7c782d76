from __future__ import annotations

from onnx import TensorProto, helper

from snow_export.inspect.owners import constant_owners, group_name, node_owners, tasks_by_owner


def owners_of(
    *nodes: tuple[str, str, str], tasks: tuple[str, ...] = ("food", "birds")
) -> dict[str, str]:
    """Tell whose each node is; a node is its name, its inputs and its outputs."""
    made = [
        helper.make_node("Sum", reads.split(), makes.split(), name=name)
        for name, reads, makes in nodes
    ]
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    graph = helper.make_graph(made, "small", [value], [])
    owners = node_owners(graph, tasks)
    return dict(zip([name for name, _, _ in nodes], owners, strict=True))


def test_a_named_node_says_it_itself() -> None:
    found = owners_of(("source/conv1", "x", "a"), ("food+birds/fc#2", "a", "b"))

    assert found == {"source/conv1": "source", "food+birds/fc#2": "food+birds"}


def test_a_part_of_an_unnamed_node_is_no_owner() -> None:
    found = owners_of(
        ("input/cast", "x", "i"),
        ("food+birds/fc", "i", "a"),
        ("split/half", "a", "h"),
        ("split", "h", "b"),
    )

    assert found["input/cast"] == "input"
    assert found["split/half"] == found["split"] == "food+birds"


def test_a_task_may_be_called_as_a_function_is() -> None:
    nodes = (("cat/conv", "x", "a"), ("cat", "a", "b"), ("cat/fc", "b", "c"))

    assert set(owners_of(*nodes, tasks=("cat",)).values()) == {"cat"}


def test_an_unnamed_node_works_for_its_one_reader() -> None:
    found = owners_of(
        ("source/a", "x", "a"),
        ("gather", "a", "g"),
        ("mul", "g", "m"),
        ("food/conv", "m", "f"),
        ("source/b", "a", "b"),
    )

    assert (found["gather"], found["mul"]) == ("food", "food")


def test_what_the_source_reads_too_is_the_sources() -> None:
    found = owners_of(
        ("source/a", "x", "a"), ("add", "a", "s"), ("food/b", "s", "f"), ("source/b", "s", "b")
    )

    assert found["add"] == "source"


def test_what_several_or_none_read_is_its_makers() -> None:
    found = owners_of(
        ("source/a", "x", "a"),
        ("flatten", "a", "f"),
        ("food/b", "f", "p"),
        ("birds/b", "f", "q"),
        ("split", "p", "out"),
        ("orphan", "p q", "r"),
    )

    assert (found["flatten"], found["split"], found["orphan"]) == ("source", "food", "(other)")


def test_names_of_other_exporters_belong_to_nobody() -> None:
    found = owners_of(("/layer1/conv", "x", "a"), ("", "a", "b"))

    assert set(found.values()) == {"(other)"}


def test_without_a_manifest_the_outputs_name_the_tasks() -> None:
    nodes = [
        helper.make_node("Relu", ["x"], ["a"], name="source/conv"),
        helper.make_node("Relu", ["a"], ["b"], name="cat/half"),
        helper.make_node("Relu", ["b"], ["food"], name="food/fc"),
    ]
    food = helper.make_tensor_value_info("food", TensorProto.FLOAT, [1])

    assert node_owners(helper.make_graph(nodes, "small", [], [food])) == ["source", "food", "food"]


def test_a_constant_is_its_readers() -> None:
    nodes = [
        helper.make_node("Sum", ["x", "w", "both", "deltas"], ["a"], name="source/a"),
        helper.make_node("Sum", ["a", "v", "both"], ["b"], name="food/b"),
        helper.make_node("Sum", ["a", "u"], ["c"], name="birds/b"),
        helper.make_node("Sum", ["u"], ["d"], name="food/c"),
    ]
    graph = helper.make_graph(nodes, "small", [], [])
    found = constant_owners(graph, node_owners(graph, ["food", "birds"]))

    assert {name: found[name] for name in ("w", "v", "both", "u")} == {
        "w": "source",
        "v": "food",
        "both": "source",
        "u": "(other)",
    }


def test_a_group_of_many_has_a_short_name() -> None:
    many = [f"a-rather-long-name-{number}" for number in range(200)]

    assert group_name(["food", "birds"]) == "food+birds"
    short = group_name(many)
    assert short == "a-rather-long-name-0+199"
    found = owners_of((f"{short}/fc", "x", "a"), ("split", "a", "b"), tasks=tuple(many))
    assert set(found.values()) == {short}
    assert set(owners_of(("nobody+199/fc", "x", "a"), tasks=tuple(many)).values()) == {"(other)"}


def test_what_a_group_answers() -> None:
    nodes = [
        helper.make_node("Relu", ["x"], ["a"], name="food+1/fc"),
        helper.make_node("Split", ["a"], ["food", "birds"], name="split"),
    ]
    outputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ["food", "birds"]
    ]
    graph = helper.make_graph(nodes, "small", [], outputs)

    owners = node_owners(graph, ["food", "birds"])
    assert tasks_by_owner(graph, owners) == {"food+1": ("food", "birds")}

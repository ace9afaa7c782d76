"""The labelling page with what fits readouts: labels in, a readout's suggestions and report out."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from snow_runtime.collection.collection import Collection
from snow_runtime.errors import ReadoutError
from snow_runtime.model import load
from snow_runtime.refit.service import RefitService
from snow_runtime.swap import SwappableModel
from tests.runtime.app.labelling.refit import Refit
from tests.runtime.app.labelling.scenes import Client, collection_of
from tests.runtime.readout.graphs import feature_graph
from tests.runtime.refit.boxes import COLOURS, QUICK, InlineFit, ask, fill, live_of, until

if TYPE_CHECKING:
    from pathlib import Path


def test_labels_of_the_page_become_suggestions_of_a_readout(tmp_path: Path) -> None:
    pytest.importorskip("scipy")
    pytest.importorskip("threadpoolctl")
    graph = feature_graph(tmp_path / "graph.onnx").path
    with (
        SwappableModel(load(graph, ["CPUExecutionProvider"], 1)) as model,
        Collection.open(tmp_path / "kept", create=True) as collection,
    ):
        ask(collection)
        pictures = fill(collection, model, 10)
        service = RefitService(collection, model, options=QUICK, begin=InlineFit)
        service.start()
        try:
            client = Client(collection, service)
            for colour in COLOURS:
                ids = [number for number, shown in pictures[:16] if shown == colour]
                body = {"question": "colour", "by": "Ann"}
                choices = [{"label": colour, "ids": ids}]
                assert client.post("labels", {**body, "choices": choices})[0] == 200
            assert until(live_of(service)) >= 1
            rest = ",".join(str(number) for number, _ in pictures[16:])
            found = client.get("pictures", question="colour", ids=rest)["pictures"]
            told = client.get("model", question="colour")
            images = [Image.open(io.BytesIO(collection.jpeg(n))) for n, _ in pictures[16:]]
            # The network itself, with its readout; the page has features in half precision.
            answered = [result["colour"].probability for result in model.batch(images)]
        finally:
            service.stop()

    said = [each["suggestion"]["model"] for each in found]
    assert [each["label"] for each in said] == [shown for _, shown in pictures[16:]]
    assert [each["sure"] for each in said] == pytest.approx(answered, abs=0.01)
    assert told["can"] == ["fit", "back", "shadow"]
    assert told["versions"][0]["state"] == "live"
    assert set(told["versions"][0]["cross_validated"]) == {"accuracy", "standard_error"}
    assert told["report"]["labels"] == {"blue": 8, "red": 8}
    assert told["status"]["live"] == 1


def test_the_model_is_asked_for_what_it_offers(tmp_path: Path) -> None:
    with collection_of(tmp_path / "c", [0, 1, 2]) as collection:
        refit = Refit(collection)
        client = Client(collection, refit)
        client.give("open", [1])
        assert refit.requested == ["door"]
        client.give("open", [1], seen={1: "open"})  # nothing new
        client.post("undo", {"question": "door", "by": "Ann", "entries": 1})
        assert refit.requested[1:] == ["door", "door"]

        def act(what: str, **given: Any) -> int:
            return client.post(f"model/{what}", {"question": "door", **given})[0]

        assert act("back", number=1) == 200
        assert refit.live == 1
        assert act("shadow", number=3, seconds=3600) == 200
        assert refit.shadows == [(3, 3600.0)]
        for what, given, status in (
            ("back", {"number": 4}, 409),  # no such version
            ("back", {"number": 0}, 400),
            ("back", {"number": True}, 400),
            ("back", {}, 400),
            ("shadow", {"number": 3, "seconds": 1}, 400),
            ("shadow", {"number": 3, "seconds": 1e9}, 400),
            ("delete", {"number": 3}, 404),
            ("_act", {}, 404),
        ):
            assert act(what, **given) == status, (what, given)
        assert client.post("model/fit", {"question": "none"})[0] == 404

        def broken(question: str) -> Any:
            msg = f"The versions of {question} are damaged. Copy them again."
            raise ReadoutError(msg)

        kept, refit.versions = refit.versions, broken  # type: ignore[method-assign]
        assert client.status("/label/api/model?question=door") == 503
        assert client.get("pictures", question="door", ids="1")["pictures"]  # goes on without
        refit.versions = kept  # type: ignore[method-assign]
        refit.shadow = None  # type: ignore[method-assign, assignment]
        assert client.get("model", question="door")["can"] == ["fit", "back"]
        assert act("shadow", number=3, seconds=3600) == 404

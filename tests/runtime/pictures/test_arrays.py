from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import snow_runtime
from snow_runtime.engine.cuda import DeviceBuffer, PinnedBuffer, PrimaryContext, Stream, call
from snow_runtime.errors import InputError
from snow_runtime.pictures.arrays import to_numpy
from tests.runtime.engine.fake_cuda import FakeDriver

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tests.runtime.conftest import Graph


class Gpu:
    """An array of another library on the stand-in's GPU."""

    def __init__(self, pixels: NDArray[Any], **more: Any) -> None:
        with PrimaryContext() as context, context.current(), Stream() as stream:
            self.buffer = DeviceBuffer(pixels.nbytes)
            with PinnedBuffer(pixels.nbytes) as pinned:
                pinned.array[:] = pixels.reshape(-1).view(np.uint8)
                address = int(pinned.handle)
                call(
                    "fill",
                    "cuMemcpyHtoDAsync",
                    self.buffer.address,
                    address,
                    pixels.nbytes,
                    stream.handle,
                )
                stream.synchronize()
        self.__cuda_array_interface__ = {
            "shape": pixels.shape,
            "typestr": pixels.dtype.str,
            "data": (self.buffer.address, True),
            "version": 3,
            **more,
        }


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> FakeDriver:
    fake = FakeDriver()
    fake.install(monkeypatch)
    return fake


@pytest.mark.parametrize("strides", [None, (24 * 3, 3, 1)])
def test_a_frame_on_the_gpu(driver: FakeDriver, strides: Any) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (16, 24, 3), dtype=np.uint8)

    image = Gpu(pixels, strides=strides)
    found = to_numpy(image)

    np.testing.assert_array_equal(np.asarray(found), pixels)
    assert driver.calls["cuMemcpyDtoHAsync"] == 1
    assert driver.calls["cuStreamDestroy"] == driver.calls["cuStreamCreate"]
    assert driver.calls["cuDevicePrimaryCtxRelease"] == driver.calls["cuDevicePrimaryCtxRetain"]


def test_the_stream_that_makes_it_is_waited_for(driver: FakeDriver) -> None:
    with PrimaryContext() as context, context.current():
        stream = Stream()
    image = Gpu(np.zeros((2, 2, 3), np.uint8), stream=stream.handle)
    before = driver.calls["cuStreamSynchronize"]

    image.__cuda_array_interface__["stream"] = stream.handle
    to_numpy(image)

    assert driver.calls["cuStreamSynchronize"] == before + 2


@pytest.mark.parametrize("attribute", ["handle", "ptr", "cuda_stream", None])
def test_a_stream_that_the_array_does_not_tell_of(
    driver: FakeDriver, attribute: str | None
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (6, 5, 3), dtype=np.uint8)
    with PrimaryContext() as context, context.current():
        stream = Stream()
    image = Gpu(pixels, stream=None)
    handle = int(stream.handle)
    theirs = handle if attribute is None else SimpleNamespace(**{attribute: handle})
    before = driver.calls["cuStreamSynchronize"]

    found = to_numpy(snow_runtime.OnStream(image, theirs))

    np.testing.assert_array_equal(np.asarray(found), pixels)
    assert driver.calls["cuStreamSynchronize"] == before + 2  # theirs, then the copy's own


@pytest.mark.usefixtures("driver")
def test_what_is_not_on_a_stream() -> None:
    with pytest.raises(InputError, match=r"ndarray has no __cuda_array_interface__"):
        snow_runtime.OnStream(np.zeros((2, 2, 3), np.uint8), 1)
    with pytest.raises(InputError, match=r"A str is no stream"):
        snow_runtime.OnStream(Gpu(np.zeros((2, 2, 3), np.uint8)), "mine")


@pytest.mark.usefixtures("driver")
def test_an_array_with_gaps() -> None:
    image = Gpu(np.zeros((4, 4, 3), np.uint8), strides=(24, 3, 1))

    with pytest.raises(InputError, match="expected a contiguous array"):
        to_numpy(image)


def test_a_tensor_of_the_host_is_shared(graph: Graph, frame: NDArray[np.uint8]) -> None:
    torch = pytest.importorskip("torch")
    tensor = torch.from_numpy(frame)

    found = to_numpy(tensor)

    assert isinstance(found, np.ndarray)
    assert np.shares_memory(found, frame)
    with snow_runtime.load(graph.path) as model:
        np.testing.assert_array_equal(
            model(tensor)["food"].probabilities, model(frame)["food"].probabilities
        )


def test_a_tensor_that_wants_a_gradient() -> None:
    torch = pytest.importorskip("torch")

    with pytest.raises(InputError, match="Detach it"):
        to_numpy(torch.zeros(2, 2, 3, requires_grad=True))


def test_memory_that_cannot_be_reached() -> None:
    elsewhere = SimpleNamespace(__dlpack__=lambda **_: None, __dlpack_device__=lambda: (7, 0))

    with pytest.raises(InputError, match="kind 7"):
        to_numpy(elsewhere)


@pytest.mark.parametrize("image", [None, "photo.jpg", [[1]]])
def test_what_is_no_array_comes_back(image: object) -> None:
    assert to_numpy(image) is image

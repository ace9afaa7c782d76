from __future__ import annotations

import os
import threading
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from snow_runtime.engine.backend import Backend
from snow_runtime.engine.cache import (
    EngineCache,
    cache_key,
    default_folder,
    read_timing_cache,
    timing_cache_path,
    write_timing_cache,
)
from snow_runtime.engine.options import BuildOptions
from snow_runtime.errors import EngineError
from tests.runtime.engine.records import DESKTOP, ORIN, record_of

TRT = Backend("tensorrt", SimpleNamespace(__version__="10.3.0"))
RTX = Backend("tensorrt-rtx", SimpleNamespace(__version__="1.7", ComputeCapability=()))


def test_the_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("SNOW_DEPLOY_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert default_folder() == Path.home() / ".cache" / "snow-deploy"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_folder() == tmp_path / "snow-deploy"
    monkeypatch.setenv("SNOW_DEPLOY_CACHE", str(tmp_path / "own"))
    assert default_folder() == tmp_path / "own"


def test_all_that_decides_what_an_engine_is_is_in_its_key() -> None:
    options = BuildOptions("fp16").with_batches(1, 1, 1)
    keys = [
        cache_key("a" * 64, options, TRT, ORIN),
        cache_key("b" * 64, options, TRT, ORIN),
        cache_key("a" * 64, replace(options, strip_weights=True), TRT, ORIN),
        cache_key("a" * 64, options, TRT, DESKTOP),
        cache_key("a" * 64, options, TRT, replace(ORIN, gpu="Orin NX")),
        cache_key("a" * 64, options, Backend("tensorrt", SimpleNamespace(__version__="11")), ORIN),
        cache_key("a" * 64, replace(options, targets=("sm86",)), RTX, DESKTOP),
        cache_key("a" * 64, replace(options, targets=("sm89",)), RTX, DESKTOP),
    ]

    assert len(set(keys)) == len(keys)
    assert keys[0] == cache_key("a" * 64, options, TRT, replace(ORIN, cuda="13.0"))


def test_what_is_compiled_for_named_gpus_is_the_same_on_all_machines() -> None:
    options = BuildOptions("fp16", ("sm86",))
    other = replace(DESKTOP, gpu=None, target=None)

    assert cache_key("a" * 64, options, RTX, DESKTOP) == cache_key("a" * 64, options, RTX, other)


def test_an_engine_comes_back(tmp_path: Path) -> None:
    cache = EngineCache(tmp_path / "engines")
    with cache.building("k"):
        assert cache.find("k") is None
        cache.keep("k", b"plan", record_of(b"plan"))

    assert cache.find("k") == (b"plan", record_of(b"plan"))


def test_a_damaged_engine_is_not_given_but_removed(tmp_path: Path) -> None:
    cache = EngineCache(tmp_path)
    cache.keep("k", b"plan", record_of(b"plan"))
    cache.engine("k").write_bytes(b"plaN")

    assert cache.find("k") is None
    assert list(tmp_path.iterdir()) == []


def test_the_engine_used_least_recently_goes_first(tmp_path: Path) -> None:
    cache = EngineCache(tmp_path, limit_bytes=250)
    for age, key in enumerate(("old", "older", "oldest")):
        content = key.encode().ljust(100)
        cache.keep(key, content, record_of(content))
        then = time.time() - 100 * (age + 1)
        os.utime(cache.engine(key), (then, then)) if cache.engine(key).exists() else None
    assert cache.find("oldest") is not None  # used: now the newest

    content = b"new".ljust(100)
    cache.keep("new", content, record_of(content))

    left = {key for key in ("old", "older", "oldest", "new") if cache.find(key)}
    assert left == {"oldest", "new"}


def test_one_engine_larger_than_the_limit_stays_alone(tmp_path: Path) -> None:
    cache = EngineCache(tmp_path, limit_bytes=10)
    for key in ("a", "b"):
        content = key.encode() * 100
        cache.keep(key, content, record_of(content))

    assert (cache.find("a"), cache.find("b") is not None) == (None, True)


def test_what_killed_builds_left_goes(tmp_path: Path) -> None:
    cache = EngineCache(tmp_path)
    stale, fresh = tmp_path / ".1.tmp", tmp_path / ".2.tmp"
    for path in (stale, fresh):
        path.write_bytes(b"half")
    os.utime(stale, (0, 0))

    cache.keep("k", b"plan", record_of(b"plan"))

    assert not stale.exists()
    assert fresh.exists()


def test_one_builds_and_the_others_wait(tmp_path: Path) -> None:
    cache, builds = EngineCache(tmp_path), []

    def work() -> None:
        with cache.building("k"):
            if cache.find("k") is None:
                builds.append(1)
                time.sleep(0.05)
                cache.keep("k", b"plan", record_of(b"plan"))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(builds) == 1


def test_a_cache_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")

    with (
        pytest.raises(EngineError, match="Give --no-cache"),
        EngineCache(tmp_path / "file" / "engines").building("k"),
    ):
        pass


def test_a_timing_cache_for_each_tensorrt_and_gpu(tmp_path: Path) -> None:
    paths = {
        timing_cache_path(tmp_path, backend, host)
        for backend in (TRT, Backend("tensorrt", SimpleNamespace(__version__="11.4")))
        for host in (ORIN, DESKTOP)
    }

    assert len(paths) == 4
    assert tmp_path / "timing" / "tensorrt-10.3.0-orin-sm87.cache" in paths


def test_a_timing_cache_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "timing" / "a.cache"

    assert read_timing_cache(path) == b""
    assert write_timing_cache(path, b"learnt") is None
    assert read_timing_cache(path) == b"learnt"


def test_a_timing_cache_in_an_impossible_place(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")

    said = write_timing_cache(tmp_path / "file" / "a.cache", b"learnt")
    assert said is not None
    assert "could not be written" in said
    with pytest.raises(EngineError, match="Give another --timing-cache"):
        read_timing_cache(tmp_path)

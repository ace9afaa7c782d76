from __future__ import annotations

import hashlib
import os
import threading
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

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
from snow_runtime.engine.paths import record_path
from snow_runtime.errors import EngineError
from tests.runtime.engine.records import DESKTOP, ORIN, record_of

TRT = Backend("tensorrt", SimpleNamespace(__version__="10.3.0"))


def test_the_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("SNOW_DEPLOY_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert default_folder() == Path.home() / ".cache" / "snow-deploy"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_folder() == tmp_path / "snow-deploy"
    monkeypatch.setenv("SNOW_DEPLOY_CACHE", str(tmp_path / "own"))
    assert default_folder() == tmp_path / "own"


def test_a_user_without_a_home(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown() -> Path:
        msg = "Could not determine home directory."
        raise RuntimeError(msg)

    monkeypatch.delenv("SNOW_DEPLOY_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", unknown)
    assert default_folder() is None


def test_all_that_decides_what_an_engine_is_is_in_its_key(monkeypatch: pytest.MonkeyPatch) -> None:
    options = BuildOptions("fp16").with_batches(1, 1, 1)

    def key(**other: Any) -> str:
        values = {
            "graph_sha256": "a" * 64,
            "options": options,
            "backend": "tensorrt",
            "version": "10.3.0",
            "host": ORIN,
        }
        return cache_key(**{**values, **other})

    keys = [
        key(),
        key(graph_sha256="b" * 64),
        key(options=replace(options, strip_weights=True)),
        key(host=DESKTOP),
        key(host=replace(ORIN, gpu="Orin NX")),
        key(version="11"),
        key(backend="tensorrt-rtx"),
        key(options=replace(options, targets=("sm86",))),
        key(options=replace(options, targets=("sm89",))),
    ]

    assert len(set(keys)) == len(keys)
    assert key() == key(host=replace(ORIN, cuda="13.0"))
    monkeypatch.setattr("snow_runtime.engine.cache.__version__", "9.9.9")
    assert key() not in keys


def test_what_is_compiled_for_named_gpus_is_the_same_on_all_machines() -> None:
    options = BuildOptions("fp16", ("sm86",))
    other = replace(DESKTOP, gpu=None, target=None)
    common = ("a" * 64, options, "tensorrt-rtx", "1.7")

    assert cache_key(*common, DESKTOP) == cache_key(*common, other)


def kept(cache: EngineCache, content: bytes, name: str = "k") -> str:
    """Keep a plan of a graph of this name, and give its key."""
    record = record_of(content, graph_sha256=hashlib.sha256(name.encode()).hexdigest())
    key = cache_key(
        record.graph_sha256, record.options, record.backend, record.version, record.host
    )
    cache.keep(key, content, record)
    return key


def test_an_engine_comes_back(tmp_path: Path) -> None:
    cache = EngineCache(tmp_path / "engines")
    with cache.building("k"):
        assert cache.find("k") is None
        key = kept(cache, b"plan")

    found = cache.find(key)
    assert found is not None
    assert found[0] == b"plan"
    assert found[1].plan_bytes == 4


def test_an_engine_that_somebody_put_in_anothers_place(tmp_path: Path) -> None:
    cache = EngineCache(tmp_path)
    mine, other = kept(cache, b"mine", "a"), kept(cache, b"other", "b")
    for path in (cache.engine(mine), record_path(cache.engine(mine))):
        path.with_name(path.name.replace(mine, other)).write_bytes(path.read_bytes())

    assert cache.find(other) is None
    assert cache.find(mine) is not None


def test_a_damaged_engine_is_not_given_but_removed(tmp_path: Path) -> None:
    cache = EngineCache(tmp_path)
    key = kept(cache, b"plan")
    cache.engine(key).write_bytes(b"plaN")

    assert cache.find(key) is None
    assert list(tmp_path.iterdir()) == []


def test_the_engine_used_least_recently_goes_first(tmp_path: Path) -> None:
    cache, keys = EngineCache(tmp_path, limit_bytes=250), {}
    for age, name in enumerate(("old", "older")):
        keys[name] = kept(cache, bytes(100), name)
        then = time.time() - 100 * (age + 1)
        os.utime(cache.engine(keys[name]), (then, then))
    assert cache.find(keys["older"]) is not None  # used: now the newest

    keys["new"] = kept(cache, bytes(100), "new")

    assert {name for name, key in keys.items() if cache.find(key)} == {"older", "new"}


def test_one_engine_larger_than_the_limit_stays_alone(tmp_path: Path) -> None:
    cache = EngineCache(tmp_path, limit_bytes=10)
    first, second = kept(cache, bytes(100), "a"), kept(cache, bytes(100), "b")

    assert (cache.find(first), cache.find(second) is not None) == (None, True)


def test_what_killed_builds_left_goes(tmp_path: Path) -> None:
    cache = EngineCache(tmp_path)
    stale, fresh = tmp_path / ".1.tmp", tmp_path / ".2.tmp"
    for path in (stale, fresh):
        path.write_bytes(b"half")
    os.utime(stale, (0, 0))

    kept(cache, b"plan")

    assert not stale.exists()
    assert fresh.exists()


def test_one_builds_and_the_others_wait(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cache = EngineCache(tmp_path)
    builds: list[str] = []

    def work() -> None:
        with cache.building("k"):
            if not builds or cache.find(builds[0]) is None:
                time.sleep(0.05)
                builds.append(kept(cache, b"plan"))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(builds) == 1
    assert caplog.messages
    assert set(caplog.messages) == {"another process is building this engine; waiting for it"}


def test_a_cache_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")

    cache = EngineCache(tmp_path / "file" / "engines")
    assert "Not a directory" in str(cache.unusable())
    with pytest.raises(EngineError, match="Give --no-cache"), cache.building("k"):
        pass
    assert EngineCache(tmp_path / "new").unusable() is None


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

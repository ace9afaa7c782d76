"""Events to a server of the standard library, which answers as a test says."""

from __future__ import annotations

import json
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from snow_runtime.app.outputs import event_queue
from snow_runtime.app.outputs.event_queue import EventQueue
from snow_runtime.app.outputs.webhook import Webhook
from snow_runtime.app.outputs.webhook_target import WebhookTarget
from snow_runtime.app.states.event import Change, StateEvent, StateNews
from snow_runtime.cameras.backoff import Backoff
from snow_runtime.cameras.clock import Instant
from snow_runtime.errors import InputError
from tests.runtime.app.conftest import until
from tests.runtime.app.frames import answer_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

QUICK = Backoff(0.02, 0.05)


class Receiver(ThreadingHTTPServer):
    """A server that keeps what is posted to it.

    Attributes:
        answers: Statuses of the next answers; 200 when there is none left.
        got: What was posted: the state after the change, the headers and the path.
    """

    def __init__(self, port: int = 0) -> None:
        self.answers: list[int] = []
        self.got: list[tuple[str, dict[str, str], str]] = []
        super().__init__(("127.0.0.1", port), Handler)
        threading.Thread(target=self.serve_forever, args=[0.02], daemon=True).start()

    @property
    def taken(self) -> list[str]:
        return [after for after, _, _ in self.got]

    def end(self) -> None:
        self.shutdown()
        self.server_close()


class Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.got.append((body["after"], dict(self.headers.items()), self.path))
        status = self.server.answers.pop(0) if self.server.answers else 200
        self.send_response(status)
        if status // 100 == 3:
            self.send_header("Location", "/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    found = Receiver()
    yield found
    found.end()


@pytest.fixture
def counts() -> Counter[str]:
    return Counter()


@pytest.fixture
def open_hook(
    tmp_path: Path, receiver: Receiver, counts: Counter[str]
) -> Iterator[Callable[..., Webhook]]:
    opened = []

    def open_hook(port: int | None = None, *headers: str, most: int = 100) -> Webhook:
        url = f"http://127.0.0.1:{port or receiver.server_port}/hook?a=b"
        target = WebhookTarget.parse(url, headers)
        path = tmp_path / "queue.sqlite"
        opened.append(Webhook(target, lambda what: counts.update([what]), path, most, QUICK))
        return opened[-1]

    yield open_hook
    for each in opened:
        each.close()


def news(*after: str) -> StateNews:
    changes = [Change("x", each, "answers", Instant(1.0, 2.0), None) for each in after]
    return StateNews(tuple(StateEvent("door", "food", None, each) for each in changes), ())


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def test_each_event_is_posted_in_order(
    open_hook: Callable[..., Webhook], receiver: Receiver, counts: Counter[str]
) -> None:
    hook = open_hook(None, "Authorization: Bearer hush")
    hook.put(answer_of())
    hook.tell(news("soup", "tea"))
    hook.tell(news("pizza"))
    until(lambda: len(receiver.got) == 3)
    assert receiver.taken == ["soup", "tea", "pizza"]
    _, headers, path = receiver.got[0]
    assert path == "/hook?a=b"
    assert headers["Authorization"] == "Bearer hush"
    assert headers["Content-Type"] == "application/json"
    assert len({headers["X-Event-Id"] for _, headers, _ in receiver.got}) == 3
    assert not counts


@pytest.mark.parametrize("status", [301, 401, 404, 408, 429, 500, 503])
def test_what_may_pass_is_tried_again(
    open_hook: Callable[..., Webhook], receiver: Receiver, counts: Counter[str], status: int
) -> None:
    receiver.answers = [status, status]
    open_hook().tell(news("soup", "tea"))
    until(lambda: len(receiver.got) == 4)
    assert receiver.taken == ["soup", "soup", "soup", "tea"]
    assert len({headers["X-Event-Id"] for _, headers, _ in receiver.got}) == 2
    assert all(path == "/hook?a=b" for _, _, path in receiver.got)
    assert not counts


@pytest.mark.parametrize("status", [400, 413, 422])
def test_an_event_that_will_never_do_holds_up_no_other(
    open_hook: Callable[..., Webhook], receiver: Receiver, counts: Counter[str], status: int
) -> None:
    receiver.answers = [status]
    open_hook().tell(news("soup", "tea"))
    until(lambda: receiver.taken == ["soup", "tea"])
    until(lambda: counts == {"webhook_refused": 1})


def test_what_nobody_took_waits_for_the_next_start(
    open_hook: Callable[..., Webhook],
    receiver: Receiver,
    counts: Counter[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    hook = open_hook(free_port())
    hook.tell(news("soup", "tea"))
    until(lambda: "takes no events" in caplog.text)
    hook.close()
    assert "2 events wait in" in caplog.text
    open_hook().tell(news("pizza"))
    until(lambda: len(receiver.got) == 3)
    assert receiver.taken == ["soup", "tea", "pizza"]
    assert not counts


def test_a_server_that_comes_late_gets_everything(
    open_hook: Callable[..., Webhook], caplog: pytest.LogCaptureFixture
) -> None:
    port = free_port()
    open_hook(port).tell(news("soup"))
    until(lambda: "takes no events" in caplog.text)
    late = Receiver(port)
    until(lambda: late.taken == ["soup"])
    until(lambda: "takes events again" in caplog.text)
    assert caplog.text.count("takes no events") == 1
    late.end()


def test_the_oldest_give_way_and_are_counted(
    open_hook: Callable[..., Webhook], receiver: Receiver, counts: Counter[str]
) -> None:
    hook = open_hook(free_port(), most=5)
    hook.tell(news(*map(str, range(12))))
    until(lambda: counts == {"webhook_lost": 7})
    hook.close()
    open_hook(most=5)
    until(lambda: len(receiver.got) == 5)
    assert receiver.taken == ["7", "8", "9", "10", "11"]


def test_a_disk_that_hangs_holds_up_nobody(
    open_hook: Callable[..., Webhook],
    receiver: Receiver,
    counts: Counter[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hangs, put = threading.Event(), EventQueue.put

    def wait_and_put(queue: EventQueue, body: str) -> int:
        hangs.wait()
        return put(queue, body)

    monkeypatch.setattr(EventQueue, "put", wait_and_put)
    hook = open_hook(most=2000)
    hook.tell(news(*map(str, range(1100))))  # it would hang, too
    assert 99 <= counts["webhook_lost"] <= 100  # one may be on its way to the disk
    hangs.set()
    until(lambda: receiver.taken[:2] == ["0", "1"])


def test_a_full_disk_loses_an_event_and_counts_it(
    open_hook: Callable[..., Webhook],
    receiver: Receiver,
    counts: Counter[str],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    hook, put = open_hook(), EventQueue.put

    def refuse_soup(queue: EventQueue, body: str) -> int:
        if "soup" in body:
            msg = "database or disk is full"
            raise OSError(msg)
        return put(queue, body)

    monkeypatch.setattr(EventQueue, "put", refuse_soup)
    hook.tell(news("soup", "tea"))
    until(lambda: receiver.taken == ["tea"])
    assert counts == {"webhook_lost": 1}
    assert "disk is full" in caplog.text


_KILLED = """
import os, signal, sys
from pathlib import Path
from snow_runtime.app.outputs.event_queue import EventQueue
events = EventQueue(Path(sys.argv[1]), 100)
for number in range(20):
    events.put(str(number))
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_events_outlive_a_process_that_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "queue.sqlite"
    ended = subprocess.run([sys.executable, "-c", _KILLED, str(path)], check=False)
    assert ended.returncode == -signal.SIGKILL
    events = EventQueue(path, 100)
    found = []
    while (event := events.oldest()) is not None:
        found.append(event.body)
        events.remove(event)
    events.close()
    assert found == [str(number) for number in range(20)]


def test_a_file_that_cannot_be_the_queue(tmp_path: Path) -> None:
    other = tmp_path / "notes.txt"
    other.write_text("mine, and no queue at all\n" * 100, encoding="utf-8")
    with pytest.raises(InputError, match=r"notes\.txt cannot hold the events"):
        EventQueue(other, 10)
    assert other.read_text(encoding="utf-8").startswith("mine")
    with pytest.raises(InputError, match="cannot hold the events"):
        EventQueue(tmp_path, 10)


def waiting(events: EventQueue) -> list[str]:
    found = []
    while (event := events.oldest()) is not None:
        found.append(event.body)
        events.remove(event)
    return found


def filled(path: Path, count: int = 100) -> list[str]:
    bodies = [json.dumps({"after": f"{number}", "more": "x" * 200}) for number in range(count)]
    events = EventQueue(path, 1000)
    for body in bodies:
        events.put(body)
    events.close()
    return bodies


PAGE = 4096
DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "a page in the middle": lambda old: old[: 4 * PAGE] + b"\xa5" * PAGE + old[5 * PAGE :],
    "cut short": lambda old: old[: len(old) // 2],
    "a head of zeros": lambda old: bytes(PAGE) + old[PAGE:],
    "zeros alone": lambda old: bytes(len(old)),
    "the table of tables": lambda old: old[:100] + b"\xa5" * 50 + old[150:],
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_queue_is_put_aside_and_read_as_far_as_it_goes(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A box that lost its power has to start, and to post what happens from now on."""
    path = tmp_path / "queue.sqlite"
    bodies = filled(path)
    broken = DAMAGES[damage](path.read_bytes())
    path.write_bytes(broken)
    events = EventQueue(path, 1000)
    events.put("new")
    found = waiting(events)
    events.close()
    assert found[-1] == "new"
    assert found[:-1] == [body for body in bodies if body in found]  # none twice, in order
    assert (tmp_path / "queue.sqlite.damaged").exists()
    assert f"{len(found) - 1} events that could be read" in caplog.text
    if damage == "a page in the middle":
        assert len(found) > 50
    again = EventQueue(path, 1000)
    assert again.oldest() is None
    again.close()


def test_a_queue_that_is_damaged_while_it_is_used_takes_events_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "queue.sqlite"
    filled(path)
    events = EventQueue(path, 1000)
    first = events.oldest()
    assert first is not None
    with path.open("r+b") as file:  # the page of the tree's root, and those below it
        file.seek(PAGE)
        file.write(b"\xa5" * 10 * PAGE)
    events._file.execute("PRAGMA cache_size=0")  # type: ignore[union-attr]
    events._file.execute("PRAGMA shrink_memory")  # type: ignore[union-attr]
    events.remove(first)
    events.put("new")
    assert waiting(events)[-1] == "new"
    events.close()
    assert "is damaged" in caplog.text


def test_damage_that_is_found_while_an_event_is_on_its_way_costs_no_other(tmp_path: Path) -> None:
    """Numbers of the new file go on: what was taken out is that event alone."""
    path = tmp_path / "queue.sqlite"
    filled(path)
    events = EventQueue(path, 1000)
    for _ in range(90):
        event = events.oldest()
        assert event is not None
        events.remove(event)
    under_way = events.oldest()
    assert under_way is not None
    with path.open("r+b") as file:
        file.seek(PAGE)
        file.write(b"\xa5" * 2 * PAGE)
    events._file.execute("PRAGMA cache_size=0")  # type: ignore[union-attr]
    events._file.execute("PRAGMA shrink_memory")  # type: ignore[union-attr]
    events.put("new")  # finds it
    assert (tmp_path / "queue.sqlite.damaged").exists()
    events.remove(under_way)
    events.put("newer")

    found = waiting(events)
    assert found[-2:] == ["new", "newer"]
    assert under_way.body not in found
    events.close()


def test_a_repair_that_fails_once_loses_nothing_that_could_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "queue.sqlite"
    bodies = filled(path)
    events = EventQueue(path, 1000)
    for _ in range(50):
        event = events.oldest()
        assert event is not None
        events.remove(event)
    with path.open("r+b") as file:
        file.seek(2 * PAGE)
        file.write(b"\xa5" * PAGE)
    events._file.execute("PRAGMA cache_size=0")  # type: ignore[union-attr]
    events._file.execute("PRAGMA shrink_memory")  # type: ignore[union-attr]

    def full(*_: object) -> None:
        msg = "database or disk is full"
        raise sqlite3.OperationalError(msg)

    with monkeypatch.context() as patch:
        patch.setattr(event_queue, "_number_behind", full)
        with pytest.raises(OSError, match="is full"):
            events.put("lost")
    events.put("new")

    found = waiting(events)
    assert found[-1] == "new"
    assert len(found) > 30
    assert found[:-1] == [body for body in bodies if body in found]
    assert len(events) == 0
    events.close()


def test_a_damaged_file_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "notes.sqlite"
    path.write_bytes(b"\x01\x02 no database, and none of ours" * 400)
    with pytest.raises(InputError, match="cannot hold the events"):
        EventQueue(path, 10)
    assert [each.name for each in tmp_path.iterdir()] == ["notes.sqlite"]


def test_on_a_disk_that_forgets_nothing_each_event_is_posted_once(
    open_hook: Callable[..., Webhook],
    receiver: Receiver,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """To delete takes room, too, and a full disk has none."""
    hook = open_hook()

    hook._events._file.execute(  # type: ignore[union-attr]
        "CREATE TEMP TRIGGER full BEFORE DELETE ON events "
        "BEGIN SELECT RAISE(FAIL, 'database or disk is full'); END"
    )
    hook.tell(news("soup", "tea", "cake"))
    until(lambda: len(receiver.taken) == 3 and len(hook._events) == 0)
    assert receiver.taken == ["soup", "tea", "cake"]
    assert "comes again after the next start" in caplog.text


def test_two_processes_share_no_queue(tmp_path: Path) -> None:
    path = tmp_path / "new" / "queue.sqlite"
    first = EventQueue(path, 10)
    with pytest.raises(InputError, match="another process uses it"):
        EventQueue(path, 10)
    first.put("kept")
    first.close()
    second = EventQueue(path, 10)
    assert len(second) == 1
    second.close()


def test_a_closed_queue_takes_and_gives_nothing(tmp_path: Path) -> None:
    events = EventQueue(tmp_path / "queue.sqlite", 10)
    events.close()
    assert events.put("late") == 0
    assert events.oldest() is None
    assert len(events) == 0


@pytest.mark.parametrize(
    "url",
    [
        "ftp://h/x",
        "http://",
        "host/x",
        "http://user:hush@h/",
        "http://h/#x",
        "http://h/a b",
        "http://h:0/",
        "http://h:x/",
        "http://h/\n",
    ],
)
def test_an_address_that_is_none(url: str) -> None:
    with pytest.raises(InputError, match="The webhook's address is not one") as caught:
        WebhookTarget.parse(url)
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize("header", ["X", ": x", "a b: c", "X:", "X: a\r\nY: b", "X: \u20ac"])
def test_a_header_that_is_none(header: str) -> None:
    with pytest.raises(InputError, match="expected NAME: VALUE"):
        WebhookTarget.parse("http://h/", [header])


def test_an_address_tells_no_secret(tmp_path: Path) -> None:
    found = WebhookTarget.parse("https://[::1]/hook/hush?x=hush", ["Authorization: hush"])
    assert (found.host, found.port, found.where) == ("::1", 443, "::1:443")
    assert "hush" not in repr(found)
    with pytest.raises(InputError, match="begins with https://"):
        WebhookTarget.parse("http://h/", (), tmp_path)
    with pytest.raises(InputError, match="cannot be used"):
        WebhookTarget.parse("https://h/", (), tmp_path / "none.pem")

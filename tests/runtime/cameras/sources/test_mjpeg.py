from __future__ import annotations

import base64
import contextlib
import gc
import itertools
import re
import socket
import ssl
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snow_runtime.cameras import CameraOptions, open_camera
from snow_runtime.cameras.clock import SYSTEM_CLOCK
from snow_runtime.cameras.sources.http.stream import HttpStream
from snow_runtime.cameras.sources.mjpeg import MjpegSource
from snow_runtime.cameras.uri import parse
from snow_runtime.errors import CameraError, SnowError
from tests.runtime.cameras.certificates import make_certificate
from tests.runtime.cameras.eventually import eventually
from tests.runtime.cameras.mjpeg_server import HEAD, Client, MjpegServer, part
from tests.runtime.cameras.pictures import jpeg, number_of
from tests.runtime.cameras.scripted import FastClock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from snow_runtime.cameras import Camera

HTTPConnectionPool = pytest.importorskip("urllib3").HTTPConnectionPool
pytest.importorskip("requests")
pytest.importorskip("simplejpeg")

OPTIONS = CameraOptions(open_timeout_s=5, stall_s=5, close_timeout_s=2)
CONNECT = "urllib3.util.connection.create_connection"
SHORT = replace(OPTIONS, open_timeout_s=0.3, stall_s=0.3)


def once(data: bytes) -> Any:
    """Send these bytes and stay."""

    def behave(client: Client) -> None:
        client.send(data)
        client.stay()

    return behave


@contextlib.contextmanager
def watching(
    behave: Callable[[Client], None] = Client.stream, **arguments: Any
) -> Iterator[tuple[MjpegServer, Camera]]:
    arguments.setdefault("options", OPTIONS)
    with MjpegServer(behave) as server, open_camera(server.uri, **arguments) as camera:
        yield server, camera


def numbers(camera: Any, count: int) -> list[int]:
    return [number_of(frame.image) for frame in itertools.islice(camera, count)]


def test_pictures_come_as_they_are_sent() -> None:
    with MjpegServer() as server, open_camera(server.uri, options=OPTIONS) as camera:
        frames = list(itertools.islice(camera, 10))

        assert camera.status.state == "connected"
        found = [number_of(frame.image) for frame in frames]
        assert found == [frame.number + 1 for frame in frames]  # the server counts from 1
        assert frames[0].image.shape == (64, 256, 3)
        assert max(frame.age_ms for frame in frames[-1:]) < 1000
        assert server.requests[0].startswith(b"GET /video HTTP/1.1\r\n")
        assert b"Authorization" not in server.requests[0]


def test_every_frame_in_order() -> None:
    data = HEAD + b"".join(part(jpeg(number)) for number in range(40))
    with watching(once(data), mode="every-frame") as (_server, camera):
        assert numbers(camera, 40) == list(range(40))


def test_in_mode_newest_pictures_that_came_together_are_passed_over_without_decoding() -> None:
    data = HEAD + b"".join(part(jpeg(number)) for number in range(40))
    with MjpegServer(once(data)) as server, open_camera(server.uri, options=OPTIONS) as camera:
        eventually(lambda: camera.counters.frames == 40)
        frame = camera.read(0)

        assert frame is not None
        assert (frame.number, number_of(frame.image)) == (39, 39)
        assert camera.counters.drops == 39


def test_a_killed_server_is_found_again_on_the_same_port() -> None:
    clock = FastClock()
    server = MjpegServer()
    with open_camera(server.uri, options=OPTIONS, clock=clock) as camera:
        assert camera.read(5) is not None
        server.kill()
        eventually(lambda: camera.status.state == "reconnecting")
        eventually(lambda: len(clock.delays) >= 2)

        with MjpegServer(port=server.port):
            eventually(lambda: camera.status.state == "connected")
            assert camera.read(5) is not None
            assert camera.counters.reconnections == 1
            assert camera.counters.lost_s > 0


@pytest.mark.parametrize("sent", [HEAD + part(jpeg(1)), b""], ids=["a picture", "nothing"])
def test_connections_that_ended_leave_nothing_behind(
    sent: bytes, request: pytest.FixtureRequest
) -> None:
    """Garbage is looked for so seldom that what needs it piles up for hours."""

    def streams() -> int:
        # By `type`: to ask a lazy object of another library for its class may have effects.
        kinds = (HttpStream, HTTPConnectionPool)
        return sum(issubclass(type(each), kinds) for each in gc.get_objects())

    gc.collect()
    gc.disable()
    request.addfinalizer(gc.enable)
    before, clock = streams(), FastClock()
    with MjpegServer(lambda client: client.send(sent)) as server:
        camera = open_camera(server.uri, options=OPTIONS, clock=clock)
        eventually(lambda: len(clock.delays) > 8)
        assert len(server.requests) > 8
        camera.close()
    del camera
    eventually(lambda: streams() <= before)


def test_a_server_that_accepts_and_says_nothing() -> None:
    with watching(Client.stay, options=SHORT, clock=FastClock()) as (server, camera):
        eventually(lambda: len(server.requests) >= 2)

        assert camera.status.state == "connecting"
        assert re.search("nothing came in time|not open", str(camera.status.error))


def test_a_server_that_is_not_even_accepted_by() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=1) as listener:  # the kernel accepts
        port = listener.getsockname()[1]
        with open_camera(f"http://127.0.0.1:{port}/", options=SHORT, clock=FastClock()) as camera:
            said = r"nothing came in time|not open"
            eventually(lambda: re.search(said, str(camera.status.error)))


def test_a_server_that_stops_sending() -> None:
    with watching(once(HEAD + part(jpeg(5))), options=SHORT, clock=FastClock()) as (server, camera):
        assert numbers(camera, 2) == [5, 5]  # from two connections

        assert len(server.requests) >= 2
        assert camera.counters.reconnections == 1


def test_a_server_that_sends_its_head_byte_by_byte() -> None:
    def drip(client: Client) -> None:
        for byte in HEAD * 100:
            client.send(bytes([byte]))
            if not client.pause(0.05):
                return

    with watching(drip, options=SHORT, clock=FastClock()) as (_server, camera):
        eventually(lambda: "not open after 0.3 s" in str(camera.status.error))


def test_a_server_that_sends_no_pictures_but_other_things() -> None:
    def babble(client: Client) -> None:
        client.send(HEAD)
        while client.pause(0.01):
            client.send(b"--frame\r\n\r\nnothing to see\r\n")

    with watching(babble, options=SHORT, clock=FastClock()) as (_server, camera):
        eventually(lambda: "no new picture for 0.3 s" in str(camera.status.error))
        assert camera.counters.frames == 0


def test_garbage_between_and_inside_pictures_is_counted_and_survived() -> None:
    whole, other = jpeg(3), jpeg(4)
    spoilt = other[:20] + b"\xff\xd8" * 20 + other[60:]
    header_only = other[: len(other) // 3]
    parts = [b"garbage\xff\xd8", part(whole), part(spoilt), part(header_only), part(other)]
    with watching(once(HEAD + b"".join(parts)), mode="every-frame") as (_server, camera):
        assert numbers(camera, 2) == [3, 4]
        assert camera.counters.bad_frames >= 2
        assert camera.counters.reconnections == 0
        assert camera.status.state == "connected"


def test_a_picture_that_does_not_decode_is_not_handed_out_as_grey() -> None:
    good = jpeg(2)
    start = good.index(b"\xff\xda")
    empty = good[: start + 14] + b"\xff\xd9"  # OpenCV would make a grey picture of it
    size = good.index(b"\xff\xc0")
    deep = good[: size + 4] + b"\x0c" + good[size + 5 :]  # 12 bits a channel
    with watching(once(HEAD + part(empty) + part(deep) + part(good)), mode="every-frame") as (
        _server,
        camera,
    ):
        assert numbers(camera, 1) == [2]
        assert camera.counters.bad_frames == 2


def test_the_size_may_change() -> None:
    widths = (256, 64, 512)
    data = HEAD + b"".join(part(jpeg(6, width)) for width in widths)
    with watching(once(data), mode="every-frame") as (_server, camera):
        frames = list(itertools.islice(camera, 3))

    assert [frame.image.shape[1] for frame in frames] == list(widths)
    assert [number_of(frame.image) for frame in frames] == [6, 6, 6]


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.0 200 OK\r\nContent-Type: multipart/x-mixed-replace;boundary=--frame\r\n\r\n",
        b'HTTP/1.0 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary="other"\r\n\r\n',
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\n\r\n",
    ],
)
def test_heads_of_all_kinds(head: bytes) -> None:
    data = head + b"".join(part(jpeg(number)) for number in range(5))
    with watching(once(data), mode="every-frame") as (_server, camera):
        assert numbers(camera, 5) == list(range(5))


def test_a_stream_in_chunks() -> None:
    body = b"".join(part(jpeg(number)) for number in range(5))
    pieces = [body[at : at + 700] for at in range(0, len(body), 700)]
    data = HEAD.replace(b"\r\n\r\n", b"\r\nTransfer-Encoding: chunked\r\n\r\n") + b"".join(
        b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces
    )
    with watching(once(data), mode="every-frame") as (_server, camera):
        assert numbers(camera, 5) == list(range(5))


def test_user_and_password_are_sent_and_never_shown(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level("DEBUG")

    def ask(client: Client) -> None:
        wanted = b"Basic " + base64.b64encode("mé:hunter@22".encode())
        if wanted in client.request and b"GET /a%C3%A9?token=t0ps3cret " in client.request:
            client.stream()
        else:
            client.send(b'HTTP/1.1 401 No\r\nWWW-Authenticate: Basic realm="c"\r\n\r\n')

    with MjpegServer(ask) as server:
        uri = f"http://m%C3%A9:hunter%4022@127.0.0.1:{server.port}/aé?token=t0ps3cret"
        with open_camera(uri, options=OPTIONS) as camera:
            assert camera.read(5) is not None
            server.behave = once(b"HTTP/1.1 500 Oh\r\n\r\n")
            shown = f"{camera!r} {camera.status} {camera.name}"

    shown += caplog.text + "".join(capfd.readouterr())
    assert not [secret for secret in ("hunter", "t0ps3cret", "m%C3%A9", "mé") if secret in shown]


def refusal(status: int) -> Any:
    return once(b"HTTP/1.1 %d No\r\nWWW-Authenticate: Basic realm=x\r\n\r\n" % status)


def test_a_wrong_password_is_not_tried_again() -> None:
    with MjpegServer(refusal(401)) as server:
        camera = open_camera(server.uri.replace("//", "//me:hunter22@"), options=OPTIONS)
        said = "answered 401 and asks for 'Basic', expected 200. The user or the password is wrong"
        with camera, pytest.raises(CameraError, match=said) as e:
            camera.read(5)
        assert len(server.requests) == 2  # one of them without a password
        assert (camera.status.state, camera.status.code) == ("failed", 401)
    assert "hunter22" not in str(e.value)


def test_a_camera_that_refuses_while_it_starts_is_tried_again_but_seldom() -> None:
    clock = FastClock()
    with watching(refusal(403), clock=clock) as (server, camera):
        eventually(lambda: len(clock.delays) >= 5)
        assert camera.status.state == "connecting"
        assert "answered 403" in str(camera.status.error)
        assert camera.status.code == 403
        for delay, full in zip(clock.delays, [60, 120, 240, 300, 300], strict=False):
            assert full * 0.75 <= delay <= full

        server.behave = Client.stream
        assert camera.read(5) is not None
        assert camera.status.code is None


def test_a_password_that_was_right_may_be_so_again() -> None:
    clock = FastClock()

    def one(client: Client) -> None:
        client.send(HEAD + part(jpeg(1)))

    with watching(one, clock=clock, mode="every-frame") as (server, camera):
        assert camera.read(5) is not None
        server.behave = refusal(401)
        eventually(lambda: "answered 401" in str(camera.status.error))
        eventually(lambda: max(clock.delays, default=0) >= 60 * 0.75)
        assert camera.status.state == "reconnecting"

        server.behave = Client.stream
        before = camera.counters.frames
        eventually(lambda: camera.counters.frames > before)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"HTTP/1.1 503 Busy\r\n\r\n", "answered 503, expected 200"),
        (b"HTTP/1.1 404 No\r\n\r\n", "answered 404, expected 200.*check the path"),
        (b"HTTP/1.1 302 There\r\nLocation: http://u:pass@h/y\r\n\r\n", r"http://\*\*\*@h/y"),
        (b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<html>", "answered with 'text/html'"),
        (b"SSH-2.0-OpenSSH\r\n", "cannot be opened"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200, "cannot be opened"),
        (HEAD + b"--frame--", "ended the stream"),
    ],
)
def test_answers_that_are_no_stream_are_outages(answer: bytes, said: str) -> None:
    options = replace(OPTIONS, attempts=1)
    with (
        watching(lambda client: client.send(answer), options=options) as (_, camera),
        pytest.raises(CameraError, match=said),
    ):
        camera.read(5)


@pytest.mark.parametrize(
    "uri", ["http:///x", "http://h:port/x", "http://h:99999/x", "http://h/a b", "http://[x/"]
)
def test_addresses_without_a_host(uri: str) -> None:
    with pytest.raises(CameraError, match="expected 'http://HOST:PORT/PATH'"):
        open_camera(uri)


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """Make a certificate and its key that nobody vouches for, as cameras have."""
    return make_certificate(tmp_path / "camera.pem", "127.0.0.1", "IP:127.0.0.1")


def test_https(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with MjpegServer(context=context) as server:
        refusing = open_camera(server.uri, options=replace(OPTIONS, attempts=1))
        with refusing, pytest.raises(CameraError, match="SSL_CERT_FILE"):
            refusing.read(5)

        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        with open_camera(server.uri, options=OPTIONS) as camera:
            assert len(numbers(camera, 5)) == 5
        before = len(server.requests)
        server.behave = once(HEAD)
        with open_camera(server.uri, options=replace(OPTIONS, stall_s=60)) as waiting:
            eventually(lambda: len(server.requests) > before)
        assert waiting.counters.abandoned == 0


def test_https_where_nobody_speaks_it() -> None:
    with MjpegServer() as server:
        uri = server.uri.replace("http", "https")
        camera = open_camera(uri, options=replace(SHORT, attempts=1))
        with camera, pytest.raises(CameraError, match=r"cannot be opened|not open"):
            camera.read(5)


def test_closing_ends_a_read_that_waits_for_bytes() -> None:
    with MjpegServer(once(HEAD)) as server:
        camera = open_camera(server.uri, options=replace(OPTIONS, stall_s=60))
        eventually(lambda: server.requests)
        start = time.monotonic()
        camera.close()

        assert time.monotonic() - start < 1
        assert camera.counters.abandoned == 0


def test_a_slow_reader_sees_new_pictures_only() -> None:
    with MjpegServer() as server, open_camera(server.uri, options=OPTIONS) as camera:
        seen = []
        for _ in range(5):
            frame = camera.read(5)
            assert frame is not None
            seen.append(frame.number)
            threading.Event().wait(0.05)  # the application's work
            assert frame.age_ms < 1000

        assert all(later > earlier for earlier, later in itertools.pairwise(seen))
        assert camera.counters.drops > 0


@given(st.binary(max_size=300), st.booleans(), st.sampled_from([b"", HEAD, HEAD[:40]]))
def test_no_answer_breaks_the_reader(data: bytes, newest: bool, head: bytes) -> None:
    """Play any bytes to a source; it raises its own errors and no others."""
    ours, theirs = socket.socketpair()
    source = MjpegSource(parse("http://h/"), OPTIONS, SYSTEM_CLOCK, newest=newest)
    with theirs:
        theirs.sendall(head + data)
        theirs.shutdown(socket.SHUT_WR)
        try:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(CONNECT, lambda *_, **__: ours)
                source.open()
            for _ in range(50):
                source.read()
        except SnowError:
            pass
        finally:
            source.close()
    ours.close()


@given(st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=80))
def test_no_content_type_breaks_the_reader(text: str) -> None:
    data = b"HTTP/1.1 200 OK\r\nContent-Type: multipart/x; boundary=" + text.encode("latin-1")
    data += b"\r\n\r\n" + part(jpeg(3))
    ours, theirs = socket.socketpair()
    source = MjpegSource(parse("http://h/"), OPTIONS, SYSTEM_CLOCK, newest=False)
    with theirs:
        theirs.sendall(data)
        try:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(CONNECT, lambda *_, **__: ours)
                source.open()
            assert number_of(source.read().image) == 3
        except SnowError as error:
            assert "cannot be opened" in str(error)  # noqa: PT017 - some texts are no header
        finally:
            source.close()
    ours.close()


@pytest.mark.parametrize("mode", ["newest", "every-frame"])
def test_pictures_that_came_before_the_end_are_handed_out(mode: Any) -> None:
    """As from an address of a single picture, which ends with each."""

    def one(client: Client) -> None:
        picture = jpeg(client.server.next_number())
        head = b"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n"
        client.send(head % len(picture) + picture)

    with watching(one, mode=mode, clock=FastClock()) as (_server, camera):
        assert len(numbers(camera, 5)) == 5
        assert "not of a single picture" in str(camera.status.error)


def test_several_pictures_and_the_end_in_one_go() -> None:
    data = HEAD + b"".join(part(jpeg(number)) for number in range(7)) + b"--frame--\r\n"
    options = replace(OPTIONS, attempts=1)
    with watching(lambda client: client.send(data), options=options) as (_server, camera):
        eventually(lambda: camera.status.state == "failed")

        assert (camera.counters.frames, camera.counters.drops) == (7, 6)
        frame = camera.poll()
        assert frame is not None
        assert (frame.number, number_of(frame.image)) == (6, 6)
        with pytest.raises(CameraError, match="ended the stream"):
            camera.read(0)


def half(data: bytes) -> bytes:
    at = data.index(b"\xff\xda") + 14
    return data[: at + (len(data) - at) // 2] + b"\xff\xd9"


def test_a_camera_of_damaged_pictures_says_so() -> None:
    def stream(client: Client) -> None:
        client.send(HEAD)
        while client.pause(0.01):
            client.send(part(half(jpeg(client.server.next_number()))))

    with watching(stream, options=SHORT, clock=FastClock()) as (_server, camera):
        said = "no new picture for 0.3 s.* Damaged pictures came: .*premature end"
        eventually(lambda: re.search(said, str(camera.status.error)))
        assert camera.counters.frames == camera.counters.drops
        assert camera.counters.bad_frames > 5
        assert camera.status.state == "connecting"
        assert camera.poll() is None


def test_a_connection_that_ends_after_damaged_pictures_says_so() -> None:
    options = replace(OPTIONS, attempts=1)
    with watching(lambda client: client.send(HEAD + part(half(jpeg(1)))), options=options) as (
        _server,
        camera,
    ):
        said = "ended the stream.* Damaged pictures came: .*premature end"
        with pytest.raises(CameraError, match=said):
            camera.read(5)


def test_the_same_bytes_again_are_no_new_picture() -> None:
    pictures = [1, 2, 2, 2, 3]
    data = HEAD + b"".join(part(jpeg(number)) for number in pictures)
    with watching(once(data), mode="every-frame") as (_server, camera):
        assert numbers(camera, 3) == [1, 2, 3]
        assert camera.counters.repeats == 2


def test_a_frozen_camera_is_told_from_a_live_one(caplog: pytest.LogCaptureFixture) -> None:
    thawed = threading.Event()

    def stream(client: Client) -> None:
        client.send(HEAD)
        while client.pause(0.01):
            number = client.server.next_number() if thawed.is_set() else 3
            client.send(part(jpeg(number)))

    options = replace(SHORT, frozen_s=0.6)  # longer than it may stall
    with watching(stream, options=options, mode="every-frame") as (server, camera):
        assert camera.read(5) is not None
        assert camera.status.state == "connected"
        eventually(lambda: camera.status.state == "frozen")
        assert camera.read(0) is None
        assert (camera.counters.frames, camera.counters.freezes) == (1, 1)
        assert camera.counters.repeats > 10
        assert len(server.requests) == 1  # it is there: nothing is gained by asking anew

        thawed.set()
        assert camera.read(5) is not None
        assert camera.status.state == "connected"
        assert camera.counters.reconnections == 0
        assert "the same picture for 0.6 s" in str(camera.status.error)
    assert caplog.text.count("is frozen") == 1


KINDS = {
    b"video/mp4": b"\0\0\0\x18ftypmp42",
    b"application/vnd.apple.mpegurl": b"#EXTM3U\n#EXT-X-VERSION:3\n",
    b"video/webm": b"\x1a\x45\xdf\xa3\x9f\x42\x86\x81",
    b"video/x-flv": b"FLV\x01\x05\0\0\0\x09",
    b"video/x-msvideo": b"RIFF\x24\x10\0\0AVI LIST",
    b"video/ogg": b"OggS\0\x02\0\0\0\0\0\0\0\0",
    b"video/mpeg": b"\0\0\1\xba\x44\0\4\0\4\1",
    b"video/mp2t": b"\x47\x40\x11\x10\0\x42\xf0\x25",
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("announced", [True, False])
def test_another_kind_of_video_is_named_at_once(kind: bytes, announced: bool) -> None:
    content_type = kind if announced else b"application/octet-stream"
    head = b"HTTP/1.1 200 OK\r\nContent-Type: " + content_type + b"\r\n\r\n"
    body = b"" if announced else KINDS[kind] + bytes(99)
    with watching(once(head + body)) as (server, camera):
        with pytest.raises(CameraError, match="expected MJPEG"):
            camera.read(5)
        assert len(server.requests) == 1

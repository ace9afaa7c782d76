"""An RTSP server of GStreamer's, run as a program by a Python that has its bindings.

It shows the time in each picture, in milliseconds modulo 2^16, as `pictures.numbered` draws it.
The port stands on the first line that it prints.

    rtsp_server.py PORT [USER PASSWORD]
"""

from __future__ import annotations

import sys
import time
from typing import Any

import gi  # type: ignore[import-not-found, unused-ignore]

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import (  # type: ignore[import-not-found, unused-ignore]  # noqa: E402
    GLib,
    Gst,
    GstRtspServer,
)

WIDTH, HEIGHT, FPS, BITS = 512, 128, 25, 16
ENCODERS = {
    "x264enc": "tune=zerolatency speed-preset=ultrafast key-int-max=25",
    "openh264enc": "gop-size=25",
}


def launch() -> str:
    caps = f"video/x-raw,format=GRAY8,width={WIDTH},height={HEIGHT},framerate={FPS}/1"
    source = f"appsrc name=src is-live=true format=time do-timestamp=true caps={caps}"
    for name, settings in ENCODERS.items():
        if Gst.ElementFactory.find(name) and Gst.ElementFactory.find("rtph264pay"):
            coded = f"{name} {settings} ! rtph264pay name=pay0 pt=96 config-interval=1"
            return f"( {source} ! videoconvert ! video/x-raw,format=I420 ! {coded} )"
    sys.exit("GStreamer has no H.264 encoder here")


def picture() -> bytes:
    now = int(time.time() * 1000)
    side = WIDTH // BITS
    row = b"".join((b"\xff" if now >> bit & 1 else b"\x00") * side for bit in range(BITS))
    return row * HEIGHT


def configure(_factory: Any, media: Any) -> None:
    source = media.get_element().get_by_name("src")

    def push() -> bool:
        buffer = Gst.Buffer.new_wrapped(picture())
        return bool(source.emit("push-buffer", buffer) == Gst.FlowReturn.OK)

    GLib.timeout_add(1000 // FPS, push)


def protect(server: Any, factory: Any, user: str, password: str) -> None:
    auth = GstRtspServer.RTSPAuth()
    token = GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", "user")
    auth.add_basic(GstRtspServer.RTSPAuth.make_basic(user, password), token)
    server.set_auth(auth)
    permissions = GstRtspServer.RTSPPermissions()
    for permission in ("media.factory.access", "media.factory.construct"):
        permissions.add_permission_for_role("user", permission, True)
    factory.set_permissions(permissions)


def main(port: str, *account: str) -> None:
    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(port)
    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_launch(launch())
    factory.set_shared(True)
    factory.connect("media-configure", configure)
    if account:
        protect(server, factory, *account)
    server.get_mount_points().add_factory("/live", factory)
    if not server.attach(None):
        sys.exit(f"port {port} is taken")
    print(server.get_bound_port(), flush=True)  # noqa: T201 - for the test
    GLib.MainLoop().run()


if __name__ == "__main__":
    main(*sys.argv[1:])

"""`snow-deploy doctor`: what of a machine works."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, cast

import click

from snow_deploy.cli.options import json_option

if TYPE_CHECKING:
    from snow_runtime.doctor import Need


@click.command("doctor")
@click.option(
    "--need",
    "needs",
    type=click.Choice(
        ["cpu", "cuda", "tensorrt", "tensorrt-rtx", "opencv", "gstreamer", "video", "camera"]
    ),
    multiple=True,
    help="What has to work here; the exit code is 1 where it does not.",
)
@json_option
@click.pass_context
def command(context: click.Context, needs: tuple[str, ...], *, as_json: bool) -> None:
    """Tell what of this machine works, and how to mend what does not.

    Looks at the NVIDIA driver and its GPUs, JetPack, ONNX Runtime and its providers, TensorRT and
    its libraries, OpenCV with GStreamer or without, PyAV, and cameras. Nothing is changed.
    """
    from snow_runtime.doctor import examine, unmet

    found = examine()
    missing = unmet(found, cast("tuple[Need, ...]", needs))
    if as_json:
        document = {"findings": [finding.to_dict() for finding in found], "unmet": missing}
        click.echo(json.dumps(document, indent=2))
    else:
        for finding in found:
            click.echo(f"{finding.level:<8} {finding.topic:<22} {finding.seen}")
            if finding.fix:
                click.echo(f"{'':<8} {'':<22} -> {finding.fix}")
    if missing:
        click.echo(f"error: does not work here: {', '.join(missing)}; see above", err=True)
        context.exit(1)

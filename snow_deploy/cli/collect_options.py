"""Options of `snow-deploy run` for the pictures that it keeps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from snow_deploy.cli.byte_size import ByteSize
from snow_deploy.cli.options import FILE, FOLDER, FiniteRange, all_of, refuse_without

if TYPE_CHECKING:
    from snow_deploy.cli.run_options import RunOptions
    from snow_runtime.collection.options import CollectionOptions

_OF_COLLECTING: Final = (
    "collect_bytes",
    "collect_hourly",
    "collect_random",
    "collect_features",
    "refit",
    "refit_memory",
)

collect_options = all_of(
    click.option(
        "--collect",
        type=FOLDER,
        help="Keep the frames that are worth a label in this folder, with features and answers.",
    ),
    click.option(
        "--collect-bytes",
        type=ByteSize(),
        help="Room for them; the oldest of those like others give way, labelled ones last.  "
        "[default: as before, or 2GB]",
    ),
    click.option(
        "--collect-hourly",
        metavar="N",
        type=click.IntRange(min=2),
        default=60,
        help="Keep no more of a camera's view in an hour; half of them random ones.",
    ),
    click.option(
        "--collect-random",
        metavar="P",
        type=FiniteRange(0, 1),
        default=0.01,
        help="Share of all frames that is drawn at random, to measure accuracy on.",
    ),
    click.option(
        "--collect-features/--no-collect-features",
        default=True,
        help="Keep the features of the pictures, which fitting needs; they are of the unmasked "
        "frame.",
    ),
    click.option(
        "--mask-faces",
        metavar="MODEL",
        type=FILE,
        help="Black out faces before a picture is kept or recorded: OpenCV's "
        "face_detection_yunet_….onnx.",
    ),
    click.option(
        "--refit/--no-refit",
        default=True,
        help="Fit the collection's questions anew after labels, beside the frames.",
    ),
    click.option(
        "--refit-memory",
        type=ByteSize(),
        default="1GB",
        help="Memory that a fit may take.",
    ),
)


def collecting_of(options: RunOptions) -> CollectionOptions | None:
    """Return how much is kept; None where nothing is.

    Raises:
        click.UsageError: An option of collecting is given, and no collection.
    """
    from snow_runtime.collection.options import CollectionOptions

    if options.collect is None:
        refuse_without("--collect", _OF_COLLECTING)
        if options.record is None:
            refuse_without("--collect or --record", ("mask_faces",))
        return None
    return CollectionOptions(
        options.collect_bytes,
        options.collect_hourly,
        options.collect_random,
        options.collect_features,
    )

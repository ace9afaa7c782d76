"""Options of `snow-deploy run` for its webhook."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from snow_deploy.cli.options import FILE, all_of, refuse_without

if TYPE_CHECKING:
    from collections.abc import Callable

    from snow_deploy.cli.run_options import RunOptions
    from snow_runtime.app.outputs.webhook import Webhook
    from snow_runtime.app.outputs.webhook_target import WebhookTarget

_OF_WEBHOOKS: Final = ("webhook_headers", "webhook_ca", "webhook_queue")

webhook_options = all_of(
    click.option(
        "--webhook",
        metavar="URL",
        help="Post each change of a state as JSON to this http:// or https:// address.",
    ),
    click.option(
        "--webhook-header",
        "webhook_headers",
        metavar="NAME: VALUE",
        multiple=True,
        help="A header that goes with it, as 'Authorization: Bearer {env:NAME}'.",
    ),
    click.option(
        "--webhook-ca",
        type=FILE,
        help="Certificates (PEM) to trust of an https:// address.  [default: the system's]",
    ),
    click.option(
        "--webhook-queue",
        type=FILE,
        default=Path("snow-webhook.sqlite"),
        help="File of the events that wait to be taken.",
    ),
)


def check_webhook(options: RunOptions) -> None:
    """Check that there is a webhook where it has options.

    Raises:
        click.UsageError: There is none.
    """
    if options.webhook is None:
        refuse_without("--webhook", _OF_WEBHOOKS)


def open_webhook(options: RunOptions, count: Callable[[str], None]) -> Webhook | None:
    """Open the webhook, if there is one; `count` gets the name of what is to be counted."""
    if options.webhook is None:
        return None
    from snow_runtime.app.outputs.webhook import Webhook

    return Webhook(webhook_target(options), count, options.webhook_queue)


def webhook_target(options: RunOptions) -> WebhookTarget:
    """Return where events are posted to.

    Raises:
        InputError: The address or a header is none, or the certificates cannot be used.
    """
    from snow_runtime.app.outputs.webhook_target import WebhookTarget

    return WebhookTarget.parse(options.webhook or "", options.webhook_headers, options.webhook_ca)

"""`boat image inspect`: everything known of an image, with Docker's field names where Docker has them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import click

from boatyard.cli.connection import daemon
from boatyard.cli.console import Console
from boatyard.cli.group import SETTINGS
from boatyard.cli.image.names import familiar, split
from boatyard.client.calls.images import inspect_image
from boatyard.client.documents.images import ImageDetail


@click.command("inspect", context_settings=SETTINGS)
@click.argument("names", nargs=-1, required=True, metavar="IMAGE...")
@click.option("--format", "-f", "form", default="", metavar="TEMPLATE", help="A template, such as '{{.Id}}'; or json.")
@click.option("--platform", default="", metavar="OS/ARCH", help="Of this platform, where an image has several.")
@click.pass_obj
def inspect(console: Console, names: tuple[str, ...], form: str, platform: str) -> None:
    """Show everything known of images, as JSON."""
    client = daemon(console)
    documents = [document(client.call(inspect_image(name, platform=platform))) for name in names]
    if form in ("", "json"):
        console.out(json.dumps(documents, indent=4, ensure_ascii=False) + "\n")
        return
    from boatyard.cli.template import Template

    template = Template(form)
    console.out("".join(template.render(each) + "\n" for each in documents))


def document(image: ImageDetail) -> dict[str, Any]:
    operating_system, _, architecture = image.platform.partition("/")
    return {
        "Id": image.id,
        "RepoTags": [familiar(name) for name in image.names if "@" not in name],
        "RepoDigests": sorted({f"{split(name)[0]}@{image.digest}" for name in image.names}),
        "Digest": image.digest,
        "Created": _moment(image),
        "Author": image.config.get("author", ""),
        "Architecture": image.config.get("architecture", architecture.partition("/")[0]),
        "Variant": image.config.get("variant", ""),
        "Os": image.config.get("os", operating_system),
        "Size": image.size,
        "Config": image.config.get("config", {}),
        "RootFS": {"Type": "layers", "Layers": [layer.diff_id for layer in image.layers]},
        "Layers": [
            {"DiffId": layer.diff_id, "Size": layer.size, "MediaType": layer.media_type, "Digest": layer.digest}
            for layer in image.layers
        ],
        "Annotations": dict(image.annotations),
        "Platforms": list(image.platforms),
        "Manifest": image.manifest,
        "Index": image.index,
    }


def _moment(image: ImageDetail) -> str:
    written = image.config.get("created")
    if isinstance(written, str) and written:
        return written
    return datetime.fromtimestamp(image.created, UTC).isoformat() if image.created else ""

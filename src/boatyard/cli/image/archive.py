"""`boat image save`, `load` and `import`: archives go through descriptors, never through this process."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager

import click

from boatyard.cli import outfile
from boatyard.cli.connection import daemon, descriptors
from boatyard.cli.console import Console
from boatyard.cli.follow import follow
from boatyard.cli.group import SETTINGS
from boatyard.cli.image.names import familiar
from boatyard.cli.listing import each
from boatyard.cli.render.choice import renderer
from boatyard.client.calls import images
from boatyard.client.documents.images import ImageImport, ImageLoad, ImageSave
from boatyard.errors import InvalidError, NotFoundError, StorageError, UnsupportedError


@click.command("save", context_settings=SETTINGS)
@click.argument("names", nargs=-1, required=True, metavar="IMAGE...")
@click.option("-o", "--output", default="", metavar="FILE", help="The file to write (default: standard output).")
@click.option("--format", "form", type=click.Choice(["docker", "oci"]), default="docker", help="The archive's layout.")
@click.option("--platform", multiple=True, metavar="OS/ARCH", help="Only this platform.")
@click.option(
    "--compression", type=click.Choice(["uncompressed", "gzip", "zstd"]), default=None, help="Of the layers in it."
)
@click.option("--compression-level", type=int, default=None, metavar="N", help="How hard to compress.")
@click.option("-q", "--quiet", is_flag=True, help="Show no progress.")
@click.pass_obj
def save(
    console: Console,
    names: tuple[str, ...],
    output: str,
    form: str,
    platform: tuple[str, ...],
    compression: str | None,
    compression_level: int | None,
    quiet: bool,
) -> None:
    """Write images to an archive that `docker load`, `boat load` and other tools read."""
    client = daemon(console)
    with writing(console, output) as descriptor, descriptors(client) as channel:
        request = ImageSave(
            names=names,
            format=form,
            platforms=platform,
            compression=compression or "",
            compression_level=compression_level,
            token=channel.offer(descriptor),
        )
        follow(console, client.stream(images.save_images(request)), renderer(console, "quiet" if quiet else "auto"))


@click.command("load", context_settings=SETTINGS)
@click.option("-i", "--input", "source", default="", metavar="FILE", help="The archive (default: standard input).")
@click.option("-q", "--quiet", is_flag=True, help="Show no progress.")
@click.pass_obj
def load(console: Console, source: str, quiet: bool) -> None:
    """Read images from an archive, as `docker save` or others wrote it: Docker's or OCI's layout, compressed or not."""
    client = daemon(console)
    with reading(console, source) as descriptor, descriptors(client) as channel:
        request = ImageLoad(token=channel.offer(descriptor))
        shown = renderer(console, "quiet" if quiet else "auto")
        loaded = follow(console, client.stream(images.load_images(request)), shown)
    each(console, [f"Loaded image: {familiar(name)}" for name in loaded.names])
    if not loaded.names:
        each(console, [f"Loaded image ID: {id}" for id in loaded.ids])


@click.command("import", context_settings=SETTINGS)
@click.argument("source", metavar="FILE|-")
@click.argument("name", required=False, default="", metavar="[NAME[:TAG]]")
@click.option("-c", "--change", multiple=True, metavar="INSTRUCTION", help="Apply CMD, ENV, LABEL ... to the image.")
@click.option("-m", "--message", default="", metavar="TEXT", help="A comment for the image's history.")
@click.option("--platform", default="", metavar="OS/ARCH", help="What the files are for (default: this host's).")
@click.pass_obj
def import_(console: Console, source: str, name: str, change: tuple[str, ...], message: str, platform: str) -> None:
    """Make an image of a tar archive of files."""
    if source.startswith(("http://", "https://")):
        raise UnsupportedError(
            "importing from an address is not supported", hint=f"fetch it: curl -L {source} | boat import - {name}"
        )
    client = daemon(console)
    with reading(console, "" if source == "-" else source) as descriptor, descriptors(client) as channel:
        request = ImageImport(
            token=channel.offer(descriptor), name=name, message=message, platform=platform, changes=change
        )
        imported = follow(console, client.stream(images.import_image(request)), renderer(console, "auto"))
    each(console, imported.ids)


@contextmanager
def reading(console: Console, path: str) -> Iterator[int]:
    if not path:
        if console.in_terminal:
            raise InvalidError(
                "an archive is not read from a terminal", hint="name a file, or pipe one into standard input"
            )
        yield 0
        return
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise NotFoundError(f"{path} does not exist") from error
    except OSError as error:
        raise StorageError(f"can't open {path}: {error.strerror}") from error
    try:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise InvalidError(f"{path} is a directory", hint="name an archive; tar makes one of a directory")
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def writing(console: Console, path: str) -> Iterator[int]:
    if path and path != "-":
        with outfile.replacing(path) as descriptor:
            yield descriptor
        return
    if console.out_terminal:
        raise InvalidError("an archive is not written to a terminal", hint="name a file with -o, or pipe it somewhere")
    yield 1

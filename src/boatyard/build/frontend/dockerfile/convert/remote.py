"""ADD from elsewhere: a file by URL, a repository by its git address."""

from __future__ import annotations

from boatyard.build.frontend.dockerfile import gitref, sources
from boatyard.build.frontend.dockerfile.draft import Draft
from boatyard.build.frontend.dockerfile.instructions import Add
from boatyard.build.llb.graph import SourceLocation
from boatyard.errors import InvalidError
from boatyard.image import digest as digests

_URLS = ("http://", "https://")


def is_remote(source: str) -> bool:
    return source.startswith(_URLS) or repository(source) is not None


def repository(source: str) -> gitref.GitReference | None:
    """The repository that a source names. `github.com/...` is a path here."""
    found = gitref.parse(source)
    return found if found is not None and not found.ambiguous else None


def check_remote(instruction: Add) -> None:
    if not instruction.checksum:
        return
    if len(instruction.sources) != 1 or instruction.inline:
        raise InvalidError("--checksum holds for one source", hint="write an ADD for each source")
    if not is_remote(instruction.sources[0]):
        raise InvalidError("--checksum needs a URL or a repository as source")


def remote_file(
    instruction: Add, source: str, name: str, locations: tuple[SourceLocation, ...]
) -> tuple[Draft, str, bool]:
    """The source's files, the path to copy of them, and whether to unpack it."""
    address = repository(source)
    if address is not None:
        return _checkout(instruction, address, name, locations), "/", False
    if instruction.checksum:
        digests.parse(instruction.checksum)
    filename = sources.http_filename(source)
    draft = sources.http(
        source, filename, checksum=instruction.checksum, metadata=sources.named(name), locations=locations
    )
    return draft, f"/{filename}", bool(instruction.unpack)


def _checkout(
    instruction: Add, address: gitref.GitReference, name: str, locations: tuple[SourceLocation, ...]
) -> Draft:
    if (
        None not in (instruction.keep_git_dir, address.keep_git_dir)
        and instruction.keep_git_dir != address.keep_git_dir
    ):
        raise InvalidError("--keep-git-dir says something else than keep-git-dir in the address")
    if instruction.checksum and address.checksum not in ("", instruction.checksum):
        raise InvalidError(f"two checksums for one repository: {instruction.checksum!r} and {address.checksum!r}")
    return sources.git(
        address,
        keep_git_dir=bool(instruction.keep_git_dir),
        checksum=instruction.checksum,
        metadata=sources.named(name),
        locations=locations,
    )

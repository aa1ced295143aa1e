"""Where a build's files come from: the main context, its Dockerfile and its ignore file.

    a directory of the client's   local://context and local://dockerfile; .dockerignore applies
    a git address                 Dockerfile and context are that repository
    an http(s) URL                an archive is unpacked; any other file is the Dockerfile
    an input of the request       a graph that another frontend made

Specification: BuildKit's options context, contextkey, contextsubdir, dockerfilekey, filename (reference/builder.md
5.4).
"""

from __future__ import annotations

import posixpath
import tarfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from boatyard.build.frontend.base import Bridge, FileReader, FrontendRequest
from boatyard.build.frontend.dockerfile import draft as drafts
from boatyard.build.frontend.dockerfile import gitref, sources
from boatyard.build.frontend.dockerfile.draft import Draft
from boatyard.build.frontend.dockerfile.ignorefile import parse_ignore_file
from boatyard.build.frontend.dockerfile.options import is_true
from boatyard.build.frontend.dockerfile.suggest import did_you_mean
from boatyard.build.llb.graph import Copy, FileAction, FileOp, Graph
from boatyard.errors import InvalidError, NotFoundError
from boatyard.image.digest import Digest

DOCKERFILE = "Dockerfile"
IGNORE_FILE = ".dockerignore"
_DOWNLOADED = "context"
"""The name of a context that came by http."""
_MAGIC = (b"BZh", b"\x1f\x8b\x08", b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd")


@dataclass(frozen=True, slots=True)
class BuildContext:
    """The main context of a request, and what was read of it.

    `remote`: `files` is the whole of it (None: nothing), and no ignore file applies. Otherwise it is the client's
    directory `name`."""

    name: str
    session: str
    filename: str
    dockerfile: bytes
    dockerfile_vertex: Digest
    ignored: tuple[str, ...] = ()
    remote: bool = False
    files: Draft | None = None
    origin: Draft | None = None
    """The source of a remote context, before anything was unpacked: it has a time."""
    origin_filename: str = ""
    """The one file of it, when it is a download."""

    def draft(self, follow: Callable[[], Sequence[str]]) -> Draft | None:
        """The files; `follow` tells, when all steps were seen, what of them is used."""
        if self.remote:
            return self.files
        return sources.local(
            self.name,
            sources.internal("load build context"),
            follow=follow,
            exclude=self.ignored,
            shared_key=self.name,
            session=self.session,
        )


async def load(bridge: Bridge, request: FrontendRequest) -> BuildContext:
    """Find the context and read the Dockerfile. NotFoundError when there is none of that name."""
    options = request.options
    place = await _main_context(bridge, request)
    source = place.dockerfile or _local_dockerfile(options, place.filename)
    edge = drafts.finish(source)
    assert edge is not None
    reader = await bridge.solve(Graph(edge))
    data = await _read_dockerfile(reader, place.filename)
    ignore = await _read_if_there(reader, place.filename + IGNORE_FILE)
    session = options.get("local-sessionid:context", "")
    if place.remote:
        patterns: tuple[str, ...] = ()
    else:
        if ignore is None:
            ignore = await _read_ignore_file(bridge, "context", session, "context-" + IGNORE_FILE, "[internal]")
        patterns = parse_ignore_file(ignore or b"")
    return BuildContext(
        name="context",
        session=session,
        filename=place.filename,
        dockerfile=data,
        dockerfile_vertex=edge.vertex.digest,
        ignored=patterns,
        remote=place.remote,
        files=place.files,
        origin=place.origin,
        origin_filename=place.origin_filename,
    )


async def read_file(bridge: Bridge, request: FrontendRequest, path: str) -> bytes:
    """A file of the main context that isn't for the image, but for the building of it: the ignore file doesn't
    apply."""
    place = await _main_context(bridge, request)
    source = place.files
    if not place.remote:
        source = sources.local(
            "context",
            sources.internal(f"load {path}"),
            follow=[path],
            shared_key=f"context-{path}",
            session=request.options.get("local-sessionid:context", ""),
            differ="none",
        )
    edge = drafts.finish(source)
    if edge is None:
        raise NotFoundError(f"there is no file {path!r} in an empty context")
    return await (await bridge.solve(Graph(edge))).read_file("/" + path)


@dataclass(frozen=True, slots=True)
class _Place:
    filename: str
    remote: bool = False
    files: Draft | None = None
    dockerfile: Draft | None = None
    origin: Draft | None = None
    origin_filename: str = ""


async def _main_context(bridge: Bridge, request: FrontendRequest) -> _Place:
    options = request.options
    place = _Place(options.get("filename") or DOCKERFILE)
    address = options.get(options.get("contextkey", "context"), "")
    if repository := gitref.parse(address) if address else None:
        place = _git_context(place, repository, address, options)
    elif address.startswith(("http://", "https://")):
        place = await _http_context(bridge, place, address)
    elif "context" in request.inputs or "dockerfile" in request.inputs:
        place = _input_context(place, request)
    if "dockerfilekey" in options:
        place = replace(place, dockerfile=None)
    if place.remote and (directory := options.get("contextsubdir")):
        place = replace(place, files=_below(place.files, directory))
    return place


def _git_context(place: _Place, repository: gitref.GitReference, address: str, options: Mapping[str, str]) -> _Place:
    draft = sources.git(
        repository,
        keep_git_dir=is_true(options.get("build-arg:BUILDKIT_CONTEXT_KEEP_GIT_DIR", "")),
        # A reproducible build needs times that don't depend on when the repository was cloned.
        mtime="commit" if options.get("build-arg:SOURCE_DATE_EPOCH") else "",
        metadata=sources.internal(f"load git source {address}"),
    )
    return replace(place, remote=True, files=draft, dockerfile=draft, origin=draft)


async def _http_context(bridge: Bridge, place: _Place, url: str) -> _Place:
    download = sources.http(url, _DOWNLOADED, metadata=sources.internal("load remote build context"))
    reader = await bridge.solve(Graph(drafts.finish(download)))
    data = await reader.read_file("/" + _DOWNLOADED)
    place = replace(place, remote=True, origin=download, origin_filename=_DOWNLOADED)
    if not _is_archive(data[:512]):
        return replace(place, filename=_DOWNLOADED, files=download, dockerfile=download)
    unpack = Copy(f"/{_DOWNLOADED}", "/", attempt_unpack=True)
    files = Draft(FileOp((FileAction(-1, unpack, 0, 0),)), (download,), metadata=sources.internal("unpack context"))
    return replace(place, files=files, dockerfile=files)


def _is_archive(head: bytes) -> bool:
    if head.startswith(_MAGIC):
        return True
    try:
        tarfile.TarInfo.frombuf(head, "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return False
    return True


def _input_context(place: _Place, request: FrontendRequest) -> _Place:
    given = {
        name: drafts.of_edge(edge) if edge is not None else None
        for name, edge in request.inputs.items()
        if name in ("context", "dockerfile")
    }
    place = replace(place, dockerfile=given.get("dockerfile"))
    if "context" not in given:
        return place
    files = given["context"]
    return replace(place, remote=True, files=files, dockerfile=place.dockerfile)


def _below(files: Draft | None, directory: str) -> Draft | None:
    if files is None:
        return None
    copy = Copy(posixpath.join("/", directory), "/", dir_copy_contents=True)
    return Draft(FileOp((FileAction(-1, copy, 0, 0),)), (files,), metadata=sources.internal(f"open {directory}"))


def _local_dockerfile(options: Mapping[str, str], filename: str) -> Draft:
    name = options.get("dockerfilekey", "dockerfile")
    names = [filename, filename + IGNORE_FILE]
    if posixpath.basename(filename) == DOCKERFILE:
        names.append(_lower(filename))
    return sources.local(
        name,
        sources.internal(f"load build definition from {filename}"),
        follow=names,
        shared_key=name,
        session=options.get(f"local-sessionid:{name}", ""),
        differ="none",
    )


def _lower(filename: str) -> str:
    return posixpath.join(posixpath.dirname(filename), DOCKERFILE.lower())


async def _read_dockerfile(reader: FileReader, filename: str) -> bytes:
    try:
        return await reader.read_file("/" + filename)
    except NotFoundError as error:
        if posixpath.basename(filename) == DOCKERFILE:
            data = await _read_if_there(reader, _lower(filename))
            if data is not None:
                return data
        raise NotFoundError(
            f"there is no file {filename!r} to build from{await _guess(reader, filename)}",
            hint="name another one with --file, or write one: it begins with FROM",
        ) from error


async def _guess(reader: FileReader, filename: str) -> str:
    """What else may have been meant; a local directory shows only the files that were asked for."""
    directory, name = posixpath.split(filename)
    try:
        names = await reader.read_dir("/" + directory)
    except (NotFoundError, InvalidError):
        return ""
    return did_you_mean(name, names, ignore_case=True)


async def _read_if_there(reader: FileReader, path: str) -> bytes | None:
    try:
        return await reader.read_file("/" + path)
    except NotFoundError:
        return None


async def _read_ignore_file(bridge: Bridge, name: str, session: str, shared_key: str, label: str) -> bytes | None:
    source = sources.local(
        name,
        sources.named(f"{label} load {IGNORE_FILE}"),
        follow=[IGNORE_FILE],
        shared_key=shared_key,
        session=session,
        differ="none",
    )
    reader = await bridge.solve(Graph(drafts.finish(source)))
    return await _read_if_there(reader, IGNORE_FILE)


async def ignore_patterns(bridge: Bridge, name: str, session: str, label: str, shared_key: str) -> tuple[str, ...]:
    """Of a directory of the client's that is a named context."""
    return parse_ignore_file(await _read_ignore_file(bridge, name, session, shared_key, label) or b"")

"""Where files come from: images, the client's directories, git repositories, downloads."""

from __future__ import annotations

from collections.abc import Sequence

from boatyard.build.frontend.dockerfile import draft as drafts
from boatyard.build.frontend.dockerfile import gitref, sources
from boatyard.build.frontend.dockerfile.draft import Draft
from boatyard.build.llb.graph import SourceLocation, SourceOp
from boatyard.errors import InvalidError
from boatyard.frontend.place import Place
from boatyard.frontend.state import State
from boatyard.image import reference as references
from boatyard.image.platform import Platform


def image(
    reference: str,
    platform: Platform | None = None,
    *,
    mode: str = "default",
    name: str = "",
    at: Place | None = None,
) -> State:
    """An image's files, by name; of the builder's own platform, unless another is asked for. `Bridge.image` also asks
    for its environment, and pins it. `mode`: default, pull or local."""
    full = str(references.parse(reference).with_default_tag())
    attrs = {} if mode == "default" else {"image.resolvemode": mode}
    metadata = sources.named(name or f"FROM {full}")
    draft = Draft(SourceOp(f"docker-image://{full}", attrs), (), platform, metadata, _locations(at))
    return _state(draft, platform, at)


def local(
    name: str = "context",
    *,
    paths: Sequence[str] = (),
    exclude: Sequence[str] = (),
    label: str = "",
    session: str = "",
) -> State:
    """A directory of the client's. `paths` narrows it to these files and directories, and what their links lead to:
    name what is used, and nothing else is looked at. `exclude` are patterns of an ignore file."""
    draft = sources.local(
        name,
        sources.internal(label or f"load {name}"),
        follow=sources.narrowed("/" + path.lstrip("/") for path in paths) if paths else (),
        exclude=exclude,
        shared_key=name,
        session=session,
    )
    return _state(draft, None, None)


def git(
    address: str, *, keep_git_dir: bool = False, checksum: str = "", name: str = "", at: Place | None = None
) -> State:
    """A repository, as `ADD` takes one: `https://host/path.git#ref:directory`."""
    parsed = gitref.parse(address)
    if parsed is None:
        raise InvalidError(f"{address!r} is no address of a git repository", hint="as in https://host/path.git#main")
    draft = sources.git(
        parsed,
        keep_git_dir=keep_git_dir,
        checksum=checksum,
        metadata=sources.named(name or f"git {address}"),
        locations=_locations(at),
    )
    return _state(draft, None, at)


def http(url: str, filename: str = "", *, checksum: str = "", name: str = "", at: Place | None = None) -> State:
    """A download: one file, called `filename` (what the URL ends with, where there is none)."""
    if not url.startswith(("http://", "https://")):
        raise InvalidError(f"{url!r} is no http address")
    draft = sources.http(
        url,
        filename or sources.http_filename(url),
        checksum=checksum,
        metadata=sources.named(name or url),
        locations=_locations(at),
    )
    return _state(draft, None, at)


def _locations(at: Place | None) -> tuple[SourceLocation, ...]:
    return (at.location,) if at is not None else ()


def _state(draft: Draft, platform: Platform | None, at: Place | None) -> State:
    texts = {at.file.name: at.file.text} if at is not None else {}
    return State(drafts.finish(draft), platform=platform, texts=texts, steps=None)

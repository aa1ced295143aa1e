"""Named contexts: what `--build-context NAME=...` puts in the place of a stage, a base image or a COPY source.

    docker-image://REFERENCE   an image; docker-image://scratch is the empty tree
    oci-layout://STORE@DIGEST  an image in an OCI layout of the client's
    local:NAME                 a directory of the client's, with its own ignore file
    git, https://...           a repository; any other URL is one file called `context`
    input:NAME                 an input of the request

They stand in the options as `context:NAME` or, for one platform, `context:NAME::PLATFORM`.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from boatyard.build.frontend.base import Bridge
from boatyard.build.frontend.dockerfile import draft as drafts
from boatyard.build.frontend.dockerfile import gitref, sources
from boatyard.build.frontend.dockerfile.context import ignore_patterns
from boatyard.build.frontend.dockerfile.draft import Draft
from boatyard.build.llb.graph import Edge
from boatyard.errors import InvalidError
from boatyard.image import digest as digests
from boatyard.image import documents
from boatyard.image import reference as references
from boatyard.image.digest import Digest
from boatyard.image.platform import Platform
from boatyard.image.spec import ImageConfig


@dataclass(frozen=True, slots=True)
class NamedContext:
    """`name` is that of the option, the platform included."""

    name: str
    value: str
    shared_key: str = ""

    @property
    def label(self) -> str:
        return f"[context {self.name}]"


@dataclass(frozen=True, slots=True)
class LoadedContext:
    """`config` is that of an image, None for plain files."""

    output: Draft | None
    config: ImageConfig | None = None
    digest: Digest | None = None
    reference: str = ""


class NamedContexts:
    """Those of one request."""

    def __init__(
        self, options: Mapping[str, str], inputs: Mapping[str, Edge | None], bridge: Bridge, mode: str = "default"
    ) -> None:
        self._options = options
        self._inputs = inputs
        self._bridge = bridge
        self._mode = mode

    def find(self, name: str, platform: Platform) -> NamedContext | None:
        """By the name of an image (`docker.io/library/alpine:latest` is `alpine`) or stage."""
        if name.lower() in ("scratch", "context"):
            return None
        try:
            parsed = references.parse(name)
        except InvalidError:
            short = name
        else:
            short = parsed.familiar().removesuffix(":latest")
        for key in (f"{short}::{platform}", short):
            if (value := self._options.get(f"context:{key}")) is not None:
                return NamedContext(key, value, self._options.get(f"sharedkey:localdir:{key}", ""))
        return None

    async def load(
        self, context: NamedContext, platform: Platform, follow: Callable[[], Sequence[str]]
    ) -> LoadedContext:
        """`follow` tells, when all steps were seen, which files of it are used."""
        kind, colon, rest = context.value.partition(":")
        if not colon:
            raise InvalidError(
                f"invalid build context {context.name}={context.value}",
                hint="a build context is a directory, a URL, docker-image://NAME or oci-layout://STORE",
            )
        rest = rest.removeprefix("//")
        if kind == "docker-image":
            return await self._image(context, rest, platform)
        if kind == "oci-layout":
            return await self._layout(context, rest, platform)
        if kind == "local":
            return await self._local(context, rest, follow)
        if kind == "input":
            return self._input(context, rest)
        if repository := gitref.parse(context.value):
            name = sources.named(f"{context.label} load git source {context.value}")
            return LoadedContext(sources.git(repository, metadata=name))
        if kind in ("http", "https"):
            name = sources.named(f"{context.label} {context.value}")
            return LoadedContext(sources.http(context.value, "context", metadata=name))
        raise InvalidError(f"unsupported kind of build context {kind!r} for {context.name}")

    async def _image(self, context: NamedContext, text: str, platform: Platform) -> LoadedContext:
        if text == "scratch":
            return LoadedContext(None)
        reference = str(references.parse(text).with_default_tag())
        found = await self._bridge.resolve_image(reference, platform, mode=self._mode)
        draft = sources.image(found.reference, platform, metadata=sources.named(f"{context.label} {found.reference}"))
        return LoadedContext(draft, documents.parse_config(found.config), found.digest, found.reference)

    async def _layout(self, context: NamedContext, text: str, platform: Platform) -> LoadedContext:
        store, at, digest = text.rpartition("@")
        if not at or not store or not digests.is_digest(digest):
            raise InvalidError(
                f"the OCI layout {text!r} for {context.name} has no digest", hint="write oci-layout://STORE@sha256:..."
            )
        store = references.parse(store).repository().familiar_name()
        name = references.parse(context.name.partition("::")[0]).repository().name
        found = await self._bridge.resolve_image(f"oci-layout://{store}@{digest}", platform)
        draft = sources.oci_layout(
            f"{name}@{found.digest}",
            store,
            self._options.get(f"local-sessionid:{store}", ""),
            platform,
            sources.named(f"{context.label} {name}@{found.digest}"),
        )
        return LoadedContext(draft, documents.parse_config(found.config), found.digest, f"{name}@{found.digest}")

    async def _local(self, context: NamedContext, name: str, follow: Callable[[], Sequence[str]]) -> LoadedContext:
        session = self._options.get(f"local-sessionid:{name}", "")
        key = f"context:{context.name}-"
        patterns = await ignore_patterns(self._bridge, name, session, context.label, key + ".dockerignore")
        draft = sources.local(
            name,
            sources.named(f"{context.label} load from client"),
            follow=follow,
            exclude=patterns,
            shared_key=key + context.shared_key,
            session=session,
        )
        return LoadedContext(draft)

    def _input(self, context: NamedContext, name: str) -> LoadedContext:
        if name not in self._inputs:
            raise InvalidError(f"the request has no input {name!r}, which {context.name} names")
        edge = self._inputs[name]
        output = drafts.of_edge(edge) if edge is not None else None
        return LoadedContext(output, self._input_config(name))

    def _input_config(self, name: str) -> ImageConfig | None:
        text = self._options.get(f"input-metadata:{name}")
        if text is None:
            return None
        try:
            metadata = msgspec.json.decode(text, type=dict[str, str | None])
            config = metadata.get("containerimage.config")
            return documents.parse_config(base64.b64decode(config, validate=True)) if config else None
        except (msgspec.MsgspecError, ValueError) as error:
            raise InvalidError(f"the metadata of input {name!r} can't be read: {error}") from error

"""Results of frontends between messages and the builder's own words.

Well-known metadata: moby/buildkit `exporter/containerimage/exptypes`, `exporter/exptypes`.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from boatyard._pb import gateway_pb2 as pb
from boatyard.api.buildkit.gateway.guest import Guest, Reference
from boatyard.build.frontend.base import FrontendResult, PlatformResult
from boatyard.build.llb import codec
from boatyard.build.llb.graph import Edge, Graph
from boatyard.errors import InvalidError
from boatyard.image import documents, spec
from boatyard.image.platform import Platform
from boatyard.image.spec import ImageConfig
from boatyard.progress import WarningEvent

CONFIG = "containerimage.config"
PLATFORMS = "refs.platforms"
EPOCH = "source.date.epoch"
_OURS = (CONFIG, PLATFORMS, EPOCH)


class _Named(msgspec.Struct, rename="pascal"):
    """`ID` is the key of a result and the end of its metadata's names."""

    platform: Platform
    id: str = msgspec.field(name="ID")


class _Platforms(msgspec.Struct, rename="pascal"):
    platforms: list[_Named] = []


def message_of(guest: Guest, result: FrontendResult, *, refs: bool = True) -> pb.Result:
    """What a frontend made, for another one outside of the builder; it holds it from here on. `refs`: it knows the
    graphs behind results, and not their ids alone."""
    message = pb.Result(metadata=metadata_of(result))
    held = {
        str(image.platform): reference_message(guest.hold(Graph(image.edge, result.files), image=image))
        for image in result.images
    }
    if result.multi_platform:
        _set_many(message, held, refs)
    else:
        _set_one(message, next(iter(held.values()), pb.Ref()), refs)
    return message


def metadata_of(result: FrontendResult) -> dict[str, bytes]:
    """What is said of a result beside its files."""
    metadata = dict(result.metadata)
    named = []
    for image in result.images:
        id = str(image.platform)
        key = f"/{id}" if result.multi_platform else ""
        named.append(_Named(image.platform, id))
        metadata[CONFIG + key] = spec.encode(image.config)
        if result.epoch is not None:
            metadata[EPOCH + key] = str(result.epoch).encode()
    if named:
        metadata[PLATFORMS] = msgspec.json.encode(_Platforms(named))
    return metadata


def reference_message(reference: Reference) -> pb.Ref:
    """The empty tree has no id."""
    if reference.graph.root is None:
        return pb.Ref()
    message = pb.Ref(id=reference.id)
    getattr(message, "def").CopyFrom(codec.to_message(reference.graph))
    return message


def message_of_reference(reference: Reference, *, refs: bool = True) -> pb.Result:
    message = pb.Result()
    _set_one(message, reference_message(reference), refs)
    return message


def _set_one(message: pb.Result, ref: pb.Ref, refs: bool) -> None:
    if refs:
        message.ref.CopyFrom(ref)
    else:
        message.refDeprecated = ref.id


def _set_many(message: pb.Result, held: Mapping[str, pb.Ref], refs: bool) -> None:
    for id, ref in held.items():
        if refs:
            message.refs.refs[id].CopyFrom(ref)
        else:
            message.refsDeprecated.refs[id] = ref.id


def result_of(guest: Guest, message: pb.Result) -> FrontendResult:
    """What a frontend outside of the builder returns. NotFoundError for a result that it doesn't hold, InvalidError for
    metadata that can't be."""
    several = message.WhichOneof("result") in ("refs", "refsDeprecated")
    metadata = dict(message.metadata)
    named = {each.id: each.platform for each in _read(metadata, PLATFORMS, _Platforms).platforms}
    found = ids(message)
    found = {key: found[key] for key in (*(key for key in named if key in found), *found)}
    images = []
    epochs = []
    for key, id in found.items():
        suffix = f"/{key}" if several else ""
        if several and len(found) > 1 and key not in named:
            raise InvalidError("several results need a mapping to their platforms", hint=f"say it in {PLATFORMS}")
        held = guest.reference(id) if id else None
        data = metadata.get(CONFIG + suffix) or (metadata.get(CONFIG) if len(found) == 1 else None)
        if held is None and data is None:
            continue  # nothing at all: an answer, no image
        platform = named.get(key) if several else next(iter(named.values()), None)
        edge = held.graph.root if held else None
        known = held.image if held else None
        images.append(_image(guest, edge, data, platform, known))
        epochs.append(_epoch(metadata, suffix))
    if any(attestation.attestation for attestation in message.attestations.values()):
        guest.bridge.warn(
            WarningEvent(
                code="NotSupported", short="attestations are not supported yet: those of this build are left out"
            )
        )
    return FrontendResult(
        images=tuple(images),
        metadata={name: value for name, value in metadata.items() if name.partition("/")[0] not in _OURS},
        multi_platform=several,
        epoch=next((epoch for epoch in epochs if epoch is not None), None),
    )


def ids(message: pb.Result) -> dict[str, str]:
    """Ids of results by key, in the order of the keys; one result's key is ""."""
    match message.WhichOneof("result"):
        case "refs":
            return {key: message.refs.refs[key].id for key in sorted(message.refs.refs)}
        case "refsDeprecated":
            return dict(sorted(message.refsDeprecated.refs.items()))
        case "ref":
            return {"": message.ref.id}
        case _:
            return {"": message.refDeprecated}


def _image(
    guest: Guest, edge: Edge | None, data: bytes | None, platform: Platform | None, known: PlatformResult | None
) -> PlatformResult:
    config = documents.parse_config(data) if data else None
    if known is not None and (config is None or config == known.config):
        return known  # just as a frontend of ours made it
    platform = platform or (documents.config_platform(config) if config else guest.bridge.platform)
    if config is None:
        config = ImageConfig(architecture=platform.architecture, os=platform.os, variant=platform.variant)
    return PlatformResult(platform=platform, edge=edge, config=config)


def _epoch(metadata: Mapping[str, bytes], suffix: str) -> int | None:
    text = metadata.get(EPOCH + suffix)
    if not text:
        return None
    try:
        return int(text)
    except ValueError as error:
        raise InvalidError(f"{EPOCH} {text[:40]!r} is no number of seconds") from error


def _read(metadata: Mapping[str, bytes], name: str, kind: type[_Platforms]) -> _Platforms:
    data = metadata.get(name)
    if not data:
        return kind()
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise InvalidError(f"the metadata {name} can't be read: {error}") from error

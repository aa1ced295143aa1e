"""What two images differ in: files and their fields, layer by layer, and fields of their documents.

Knows two images in two content providers. Layers whose diff IDs agree aren't read: bytes alone decide. Nothing is
unpacked.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from boatyard.image import documents, spec
from boatyard.image.content.store import Provider
from boatyard.image.documents import ImageDocuments
from boatyard.image.layer.decompression import open_decompressed
from boatyard.image.layer.tarstream import (
    BLOCK,
    CHAR,
    DIRECTORY,
    FIFO,
    HARD_LINK,
    REGULAR,
    SYMLINK,
    Entry,
    TarReader,
)
from boatyard.image.spec import Descriptor, ImageConfig
from boatyard.image.timestamp import rfc3339

_KINDS: Mapping[bytes, str] = {
    REGULAR: "file",
    HARD_LINK: "hard link",
    SYMLINK: "symbolic link",
    CHAR: "character device",
    BLOCK: "block device",
    DIRECTORY: "directory",
    FIFO: "fifo",
}
CONFIG, MANIFEST, INDEX = "config", "manifest", "index"


@dataclass(frozen=True, slots=True)
class Difference:
    """`platform` is "" for the index. `where`: `layer 2 of 3`, config, manifest or index. `command` made the layer.
    `path` is the file's, or "". `field`: type, mode, owner, mtime, content, link, device, xattrs, presence, order or
    encoding; for documents, the field's name. `first` and `second` are what they are in each, as shown to people."""

    platform: str
    where: str
    path: str
    field: str
    first: str
    second: str
    command: str = ""


@dataclass(frozen=True, slots=True)
class _File:
    entry: Entry
    digest: str


def compare(
    first: Provider, first_image: Descriptor, second: Provider, second_image: Descriptor
) -> Iterator[Difference]:
    """Nothing when they are the same. Blocks, and raises what reading raises."""
    if first_image.media_type in spec.INDEXES and second_image.media_type in spec.INDEXES:
        documents_of = (
            _flat(documents.read_bytes(first, first_image), ("manifests",)),
            _flat(documents.read_bytes(second, second_image), ("manifests",)),
        )
        yield from _fields("", INDEX, *documents_of)
    images = [
        [documents.read_image(provider, manifest) for manifest in documents.image_manifests(provider, image)]
        for provider, image in ((first, first_image), (second, second_image))
    ]
    platforms = [" ".join(str(image.platform) for image in each) for each in images]
    if platforms[0] != platforms[1]:
        yield Difference("", INDEX, "", "platforms", *platforms)
    for one, other in zip(*images, strict=False):
        if one.platform == other.platform:
            yield from _image(first, one, second, other)


def _image(first: Provider, one: ImageDocuments, second: Provider, other: ImageDocuments) -> Iterator[Difference]:
    platform = str(one.platform)
    layers, others = one.manifest.layers, other.manifest.layers
    if len(layers) != len(others):
        yield Difference(platform, MANIFEST, "", "layers", str(len(layers)), str(len(others)))
    commands = _commands(one.config)
    ids = zip(one.config.rootfs.diff_ids, other.config.rootfs.diff_ids, strict=False)
    for number, ((diff_id, other_id), layer, its) in enumerate(zip(ids, layers, others, strict=False)):
        if diff_id == other_id:
            continue
        command = commands[number] if number < len(commands) else ""
        where = f"layer {number + 1} of {len(layers)}"
        yield from _layer(platform, where, command, _files(first, layer), _files(second, its))
    configs = (
        _flat(documents.read_bytes(first, one.manifest.config), ("rootfs",)),
        _flat(documents.read_bytes(second, other.manifest.config), ("rootfs",)),
    )
    yield from _fields(platform, CONFIG, *configs)
    manifests = (
        _flat(documents.read_bytes(first, one.descriptor), ("config", "layers")),
        _flat(documents.read_bytes(second, other.descriptor), ("config", "layers")),
    )
    yield from _fields(platform, MANIFEST, *manifests)


def _commands(config: ImageConfig) -> list[str]:
    """What made each layer."""
    return [entry.created_by for entry in config.history if not entry.empty_layer]


def _files(provider: Provider, layer: Descriptor) -> list[_File]:
    found = []
    with provider.open(layer.digest) as blob, open_decompressed(blob) as plain:
        reader = TarReader(plain)
        for entry in reader:
            hasher = hashlib.sha256()
            for offset, data in reader.content():
                if entry.sparse is not None:
                    hasher.update(offset.to_bytes(8, "big"))
                hasher.update(data)
            found.append(_File(entry, hasher.hexdigest()))
    return found


def _layer(
    platform: str, where: str, command: str, first: Sequence[_File], second: Sequence[_File]
) -> Iterator[Difference]:
    """Of the same name, the last counts, as it does when a layer is applied."""
    files, others = ({file.entry.name.rstrip(b"/"): file for file in each} for each in (first, second))
    told = False
    for name in sorted({*files, *others}):
        path = "/" + name.removeprefix(b"./").decode("utf-8", "replace")
        one, other = files.get(name), others.get(name)
        if one is None or other is None:
            words = ("there", "not there")
            told = True
            yield Difference(platform, where, path, "presence", *(words if one else words[::-1]), command)
            continue
        for field, was, is_ in _file_fields(one, other):
            told = True
            yield Difference(platform, where, path, field, was, is_, command)
    order = [[file.entry.name.rstrip(b"/") for file in each] for each in (first, second)]
    if {*files} == {*others} and order[0] != order[1]:
        place = next(at for at, (one_name, other_name) in enumerate(zip_longest(*order)) if one_name != other_name)
        names = [each[place].decode("utf-8", "replace") if place < len(each) else "nothing" for each in order]
        yield Difference(platform, where, "", "order", f"entry {place + 1} is {names[0]}", names[1], command)
    elif not told:
        yield Difference(platform, where, "", "encoding", "the same files", "in other bytes of tar", command)


def _file_fields(one: _File, other: _File) -> Iterator[tuple[str, str, str]]:
    a, b = one.entry, other.entry
    shown: tuple[tuple[str, str, str], ...] = (
        ("type", _KINDS.get(a.kind, repr(a.kind)), _KINDS.get(b.kind, repr(b.kind))),
        ("mode", f"{a.mode:04o}", f"{b.mode:04o}"),
        ("owner", f"{a.uid}:{a.gid}", f"{b.uid}:{b.gid}"),
        ("mtime", _time(a.mtime_ns), _time(b.mtime_ns)),
        ("link", a.link.decode("utf-8", "replace"), b.link.decode("utf-8", "replace")),
        ("device", f"{a.major}:{a.minor}", f"{b.major}:{b.minor}"),
        ("xattrs", _xattrs(a.xattrs), _xattrs(b.xattrs)),
        ("content", f"{a.size} bytes, sha256:{one.digest[:12]}", f"{b.size} bytes, sha256:{other.digest[:12]}"),
    )
    yield from ((field, was, is_) for field, was, is_ in shown if was != is_)


def _time(nanoseconds: int) -> str:
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    text = rfc3339(seconds)
    return f"{text.removesuffix('Z')}.{rest:09d}Z" if rest else text


def _xattrs(xattrs: Mapping[bytes, bytes]) -> str:
    shown = (f"{name.decode('utf-8', 'replace')}={value.hex()}" for name, value in sorted(xattrs.items()))
    return ", ".join(shown) or "none"


def _fields(platform: str, where: str, first: Mapping[str, str], second: Mapping[str, str]) -> Iterator[Difference]:
    for name in dict.fromkeys((*first, *second)):
        one, other = first.get(name, "not there"), second.get(name, "not there")
        if one != other:
            yield Difference(platform, where, "", name, one, other)


def _flat(data: bytes, without: Sequence[str]) -> dict[str, str]:
    """A JSON document's leaves, by their paths: `config.Env[2]`."""
    document = json.loads(data)
    return dict(_leaves({name: value for name, value in document.items() if name not in without}, ""))


def _leaves(value: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict) and value:
        for name, each in value.items():
            yield from _leaves(each, f"{path}.{name}" if path else name)
    elif isinstance(value, list) and value:
        for number, each in enumerate(value):
            yield from _leaves(each, f"{path}[{number}]")
    else:
        yield path, json.dumps(value, ensure_ascii=False)

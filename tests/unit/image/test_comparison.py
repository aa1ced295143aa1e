"""What two images differ in, told by name: files with their fields, and fields of documents."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from boatyard.image import digest as digests
from boatyard.image import documents, spec
from boatyard.image.comparison import Difference, compare
from boatyard.image.content.memory import MemoryStore
from boatyard.image.platform import Platform
from boatyard.image.spec import Descriptor, History, ImageConfig, Index, Manifest, RootFS, RunConfig

Member = tuple[str, bytes, dict[str, Any]]
AMD = Platform(os="linux", architecture="amd64")
ARM = Platform(os="linux", architecture="arm64")


def tar(*members: Member, form: int = tarfile.PAX_FORMAT) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as archive:
        for name, content, fields in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            for field, value in fields.items():
                setattr(info, field, value)
            archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


def image(
    store: MemoryStore, *layers: bytes, platform: Platform = AMD, env: Sequence[str] = (), created: str = ""
) -> Descriptor:
    config = ImageConfig(
        architecture=platform.architecture,
        os=platform.os,
        created=created,
        config=RunConfig(env=tuple(env)),
        rootfs=RootFS(diff_ids=tuple(digests.of_bytes(layer) for layer in layers)),
        history=(
            History(created_by="ENV A=b", empty_layer=True),
            *(History(created_by=f"RUN {number}") for number in range(len(layers))),
        ),
    )
    packed = [gzip.compress(layer, mtime=0) for layer in layers]
    manifest = Manifest(
        schema_version=2,
        media_type=spec.OCI_MANIFEST,
        config=documents.write(store, spec.encode(config), spec.OCI_CONFIG),
        layers=tuple(documents.write(store, data, spec.OCI_LAYER_GZIP) for data in packed),
    )
    return documents.write(store, spec.encode(manifest), spec.OCI_MANIFEST, platform=platform)


def differences(make: Callable[[MemoryStore, int], Descriptor]) -> list[Difference]:
    stores = MemoryStore(), MemoryStore()
    return list(compare(stores[0], make(stores[0], 0), stores[1], make(stores[1], 1)))


def told(found: Sequence[Difference]) -> list[tuple[str, str, str, str]]:
    return [(each.path, each.field, each.first, each.second) for each in found]


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:12]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (({"mode": 0o644}, {"mode": 0o4755}), ("mode", "0644", "4755")),
        (({"uid": 0, "gid": 5}, {"uid": 1000, "gid": 5}), ("owner", "0:5", "1000:5")),
        (({"mtime": 0}, {"mtime": 1.5}), ("mtime", "1970-01-01T00:00:00Z", "1970-01-01T00:00:01.500000000Z")),
        (
            ({"type": tarfile.SYMTYPE, "linkname": "x"}, {"type": tarfile.SYMTYPE, "linkname": "y"}),
            ("link", "x", "y"),
        ),
        (({"type": tarfile.DIRTYPE}, {"type": tarfile.FIFOTYPE}), ("type", "directory", "fifo")),
        (
            ({"type": tarfile.CHRTYPE, "devmajor": 1, "devminor": 3}, {"type": tarfile.CHRTYPE, "devmajor": 1}),
            ("device", "1:3", "1:0"),
        ),
        (({"pax_headers": {"SCHILY.xattr.user.a": "b"}}, {}), ("xattrs", "user.a=62", "none")),
    ],
)
def test_each_field_of_a_file_is_named(
    fields: tuple[dict[str, Any], dict[str, Any]], expected: tuple[str, str, str]
) -> None:
    found = differences(lambda store, which: image(store, tar(("etc/f", b"", fields[which]))))
    assert told(found) == [("/etc/f", *expected)]
    assert (found[0].platform, found[0].where, found[0].command) == ("linux/amd64", "layer 1 of 1", "RUN 0")


def test_contents_and_missing_files_are_named() -> None:
    layers = (
        tar(("a", b"1", {}), ("only-first", b"", {})),
        tar(("a", b"22", {}), ("only-second", b"", {})),
    )
    assert told(differences(lambda store, which: image(store, tar(), layers[which]))) == [
        ("/a", "content", f"1 bytes, sha256:{sha(b'1')}", f"2 bytes, sha256:{sha(b'22')}"),
        ("/only-first", "presence", "there", "not there"),
        ("/only-second", "presence", "not there", "there"),
    ]


def test_the_order_of_entries_is_told() -> None:
    members: list[Member] = [("a", b"", {}), ("b", b"", {}), ("c", b"", {})]
    layers = tar(*members), tar(members[0], members[2], members[1])
    assert told(differences(lambda store, which: image(store, layers[which]))) == [
        ("", "order", "entry 2 is b", "c"),
    ]


def test_the_same_files_in_other_bytes_are_told() -> None:
    layers = tar(("a", b"", {}), form=tarfile.GNU_FORMAT), tar(("a", b"", {}), form=tarfile.USTAR_FORMAT)
    assert [each.field for each in differences(lambda store, which: image(store, layers[which]))] == ["encoding"]


def test_fields_of_the_config_are_named_by_their_path() -> None:
    envs = ("A=b", "C=1"), ("A=b", "C=2", "D=3")
    times = "2020-01-01T00:00:00Z", "2021-01-01T00:00:00Z"
    found = differences(lambda store, which: image(store, env=envs[which], created=times[which]))
    assert {each.where for each in found} == {"config"}
    assert told(found) == [
        ("", "created", '"2020-01-01T00:00:00Z"', '"2021-01-01T00:00:00Z"'),
        ("", "config.Env[1]", '"C=1"', '"C=2"'),
        ("", "config.Env[2]", "not there", '"D=3"'),
    ]


def test_platforms_of_an_index_are_compared_each_with_its_own() -> None:
    def make(store: MemoryStore, which: int) -> Descriptor:
        manifests = (
            image(store, tar(("same", b"", {}))),
            image(store, tar(("f", str(which).encode(), {})), platform=ARM),
        )
        index = Index(
            schema_version=2,
            media_type=spec.OCI_INDEX,
            manifests=manifests[: 2 if which < 2 else 1],
            annotations={"made": str(which)},
        )
        return documents.write(store, spec.encode(index), spec.OCI_INDEX)

    found = differences(make)
    assert [(each.platform, each.where, each.path, each.field) for each in found] == [
        ("", "index", "", "annotations.made"),
        ("linux/arm64", "layer 1 of 1", "/f", "content"),
    ]
    found = differences(lambda store, which: make(store, which * 2))
    assert ("platforms", "linux/amd64 linux/arm64", "linux/amd64") in [each[1:] for each in told(found)]


def test_equal_images_have_no_differences_and_their_layers_are_not_read() -> None:
    def make(store: MemoryStore, which: int) -> Descriptor:
        made = image(store, tar(("a", b"x", {"mtime": 5})))
        store.delete(documents.read_manifest(store, made).layers[0].digest)
        return made

    assert differences(make) == []


def test_another_number_of_layers_is_told() -> None:
    found = differences(lambda store, which: image(store, *[tar()] * (which + 1)))
    assert ("", "layers", "1", "2") in told(found)

"""RUN --mount, all keys and refusals."""

from __future__ import annotations

import pytest

from boatyard.build.frontend.dockerfile import shell
from boatyard.build.frontend.dockerfile.instructions import Mount, MountFlag, MountType, Sharing
from boatyard.build.frontend.dockerfile.mounts import parse_mount, parse_mount_flag, parse_size
from boatyard.errors import InvalidError

VALUES = {"ID": "abc", "DIR": "/x y", "YES": "true", "TYPE": "cache"}


def mount_of(text: str) -> Mount:
    return parse_mount(parse_mount_flag(text), lambda word: shell.expand_word(word, VALUES))


BIND, CACHE, TMPFS, SECRET, SSH = MountType


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("target=/a", Mount(BIND, target="/a", readonly=True)),
        ("type=bind,source=s,target=/a", Mount(BIND, source="s", target="/a", readonly=True)),
        ("src=s,dst=/a", Mount(BIND, source="s", target="/a", readonly=True)),
        ("from=build,destination=/a,rw", Mount(BIND, from_="build", target="/a")),
        ("target=/a,readwrite=true", Mount(BIND, target="/a")),
        ("target=/a,rw=false", Mount(BIND, target="/a", readonly=True)),
        ("target=/a,ro=0", Mount(BIND, target="/a")),
        ("target=/a,readonly=F", Mount(BIND, target="/a")),
        ("TYPE=Cache,Target=/a", Mount(CACHE, target="/a")),
        ("type=cache,target=/a,ro", Mount(CACHE, target="/a", readonly=True)),
        (
            "type=cache,id=i,from=b,source=s,target=/a,sharing=LOCKED,mode=0755,uid=1,gid=2",
            Mount(CACHE, "b", "s", "/a", id="i", sharing=Sharing.LOCKED, mode=0o755, uid=1, gid=2),
        ),
        ("target=/a,type=cache,sharing=private", Mount(CACHE, target="/a", sharing=Sharing.PRIVATE)),
        ("type=tmpfs,target=/a", Mount(TMPFS, target="/a")),
        ("type=tmpfs,target=/a,size=64m", Mount(TMPFS, target="/a", size=64 * 1024 * 1024)),
        ("type=secret,id=s", Mount(SECRET, id="s", readonly=True)),
        (
            "type=secret,id=s,target=/a,required,mode=0440,uid=0,gid=5",
            Mount(SECRET, target="/a", id="s", required=True, readonly=True, mode=0o440, uid=0, gid=5),
        ),
        ("required=true,type=secret,src=s", Mount(SECRET, source="s", required=True, readonly=True)),
        ("type=secret,target=/a/s", Mount(SECRET, target="/a/s", readonly=True)),
        ("type=secret,id=s,env=TOKEN", Mount(SECRET, id="s", env="TOKEN", readonly=True)),
        ("type=secret,id=s,env=", Mount(SECRET, id="s", env="", readonly=True)),
        ("type=ssh", Mount(SSH, readonly=True)),
        ("type=ssh,id=k,required=1,mode=600", Mount(SSH, id="k", required=True, readonly=True, mode=0o600)),
        ('"target=/a,b",rw', Mount(BIND, target="/a,b")),
        ("type=$TYPE,id=${ID}-1,target=$DIR,ro=${YES}", Mount(CACHE, target="/x y", id="abc-1", readonly=True)),
        ("target=/a,source=a=b", Mount(BIND, source="a=b", target="/a", readonly=True)),
    ],
)
def test_mounts(text: str, expected: Mount) -> None:
    assert mount_of(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty"),
        ("type=cahce", r"unknown mount type 'cahce' \(did you mean cache\?\)"),
        ("type=$NONE", "unknown mount type ''"),
        ("target", r"'target' in the mount 'target' has no value"),
        ("tagret=/a", r"unknown key 'tagret' .*\(did you mean target\?\)"),
        ("target=/a,foo", "unknown key 'foo'"),
        ("target=/a,", "unknown key ''"),
        ("from=$ID,target=/a", "variables are not expanded in the mount's 'from=\\$ID'"),
        ('target="a"', "quote in the middle of the field"),
        ('"target=/a', "quotes in .* don't match"),
        ('"target=/a"b', "don't match"),
        ("type=cache,target=/a,sharing=lock", r"unknown sharing 'lock'"),
        ("type=bind,target=/a,sharing=shared", "a bind mount has no 'sharing'"),
        ("target=/a,required", "a bind mount has no 'required'"),
        ("type=cache,target=/a,required=true", "a cache mount has no 'required'"),
        ("type=bind,target=/a,size=1", "a bind mount has no 'size'"),
        ("type=tmpfs,target=/a,size=big", "invalid size 'big'"),
        ("target=/a,mode=0755", "a bind mount has no 'mode'"),
        ("type=tmpfs,target=/a,uid=1", "a tmpfs mount has no 'uid'"),
        ("type=cache,target=/a,mode=8", "invalid mode '8'"),
        ("type=cache,target=/a,uid=root", "invalid uid 'root'"),
        ("type=cache,target=/a,gid=4294967296", "invalid gid"),
        ("type=cache,target=/a,gid=-1", "invalid gid"),
        ("target=/a,ro=maybe", "ro is either true or false, not 'maybe'"),
        ("target=/a,ro=tRUE", "ro is either true or false"),
        ("type=secret", "doesn't name a secret"),
        ("type=secret,id=a,src=b", "both 'source' and 'id'"),
        ("type=secret,id=a,from=b", "a secret mount has no 'from'"),
        ("type=secret,id=a,sharing=shared", "a secret mount has no 'sharing'"),
    ],
)
def test_refusals(text: str, message: str) -> None:
    with pytest.raises(InvalidError, match=message) as caught:
        mount_of(text)
    assert caught.value.hint


def test_from_is_known_before_variables_are() -> None:
    assert parse_mount_flag("type=$T,from=a,target=$X") == MountFlag("type=$T,from=a,target=$X", "a")
    assert parse_mount_flag("from=a$").from_ == "a$"


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("512", 512),
        ("1b", 1),
        ("1k", 1024),
        ("1KB", 1024),
        ("1KiB", 1024),
        ("64 MB", 64 * 1024**2),
        ("1.5g", 3 * 1024**3 // 2),
        ("2t", 2 * 1024**4),
    ],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "k", "1x", "-1", "1.2.3", "1kk", "1bb", "0x10", "1e3", "٣", "1ib", "9" * 50])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(InvalidError, match="invalid size"):
        parse_size(text)

"""Who a container runs as, looked up in the image's own /etc/passwd and /etc/group.

The rules are those of `docker run --user` and of USER in a Dockerfile.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from boatyard.errors import InvalidError
from boatyard.runtime.rootfs import read_file

MAX_ID = (1 << 32) - 2
"""2**32 - 1 is "no change" to chown(2)."""


@dataclass(frozen=True, slots=True)
class User:
    uid: int
    gid: int
    groups: tuple[int, ...] = ()
    """Supplementary groups; the primary one is among them."""
    home: str = "/"


@dataclass(frozen=True, slots=True)
class _Account:
    name: str
    uid: int
    gid: int
    home: str


@dataclass(frozen=True, slots=True)
class _Group:
    name: str
    gid: int
    members: tuple[str, ...]


def lookup(root: str, user: str) -> User:
    """The user of `name`, `uid`, `name:group` or `uid:gid`; "" is uid 0.

    A number needs no entry, a name does. Without a group the account's own is taken (0 when it has no entry), with
    the groups that list it. Raises InvalidError naming what was not found.
    """
    return find(user, read_file(root, "/etc/passwd") or b"", read_file(root, "/etc/group") or b"")


def find(user: str, passwd: bytes, group: bytes) -> User:
    """`lookup` on the contents of the two files."""
    name, _, group_name = user.partition(":")
    number = _number(name) if name else 0
    account = next((entry for entry in _accounts(passwd) if entry.name == name or entry.uid == number), None)
    if account is None:
        if number is None:
            raise InvalidError(
                f"unable to find user {name}: no matching entries in passwd file",
                hint="make the user in the image before it is used, or give its number",
            )
        account = _Account("", number, 0, "/")
    if group_name:
        gid = _group_number(group_name, group)
        return User(account.uid, gid, (gid,), account.home)
    others = tuple(
        entry.gid
        for entry in _groups(group)
        if account.name in entry.members and entry.gid != account.gid and account.name
    )
    return User(account.uid, account.gid, (account.gid, *dict.fromkeys(others)), account.home)


def _group_number(name: str, group: bytes) -> int:
    number = _number(name)
    for entry in _groups(group):
        if entry.name == name or entry.gid == number:
            return entry.gid
    if number is None:
        raise InvalidError(
            f"unable to find group {name}: no matching entries in group file",
            hint="make the group in the image before it is used, or give its number",
        )
    return number


def _accounts(passwd: bytes) -> Iterator[_Account]:
    for fields in _records(passwd, 4):
        uid, gid = _number(fields[2]), _number(fields[3])
        if uid is not None and gid is not None:
            yield _Account(fields[0], uid, gid, (fields[5] if len(fields) > 5 else "") or "/")


def _groups(group: bytes) -> Iterator[_Group]:
    for fields in _records(group, 3):
        gid = _number(fields[2])
        if gid is not None:
            members = fields[3].split(",") if len(fields) > 3 else ()
            yield _Group(fields[0], gid, tuple(member.strip() for member in members if member.strip()))


def _records(data: bytes, least: int) -> Iterator[list[str]]:
    """Colon-separated lines with at least so many fields; anything else in the file is passed over, as libc does."""
    for line in data.decode(errors="surrogateescape").split("\n"):
        text = line.strip()
        if text and not text.startswith("#"):
            fields = text.split(":")
            if len(fields) >= least and fields[0]:
                yield fields


def _number(text: str) -> int | None:
    if not (text.isascii() and text.isdigit()) or len(text) > 10:
        return None
    value = int(text)
    return value if value <= MAX_ID else None

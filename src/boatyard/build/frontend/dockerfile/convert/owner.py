"""Owners and modes, as --chown, --chmod and USER write them."""

from __future__ import annotations

import re

from boatyard.build.llb.graph import Chown, User
from boatyard.errors import InvalidError

_HIGHEST_ID = 2**32 - 2
_OCTAL = re.compile(r"[0-7]+")
_SYMBOLIC = re.compile(r"[ugoa]*(?:[-+=](?:[rwxXst]*|[ugo]))+")


def parse_owner(text: str, base: int) -> Chown:
    """`user[:group]`, names or numbers. Names are looked up in the files of input `base`; -1, the empty tree, has
    none."""
    user, colon, group = text.partition(":")
    return Chown(_identity(user, base, text), _identity(group, base, text) if colon else None)


def _identity(text: str, base: int, whole: str) -> User:
    if text in ("", "root"):
        return User(id=0)
    if text.isascii() and text.isdecimal() and int(text[:11]) <= _HIGHEST_ID:
        return User(id=int(text))
    if base < 0:
        raise InvalidError(
            f"the owner {whole!r} can't be looked up: there is no /etc/passwd to look into",
            hint="with --link, and on scratch, owners have to be numbers: --chown=1000:1000",
        )
    return User(text, None, base)


def accounts_read(owner: Chown | None) -> tuple[str, ...]:
    """The files in which the owner's names are looked up."""
    names = [user for user in (owner.user, owner.group) if user is not None and user.name] if owner else []
    return ("/etc/passwd", "/etc/group") if names else ()


def parse_mode(text: str) -> tuple[int, str]:
    """The mode and its symbolic form, of which one is given: (-1, "") when neither is, (0, form) for a form."""
    if not text:
        return -1, ""
    if _OCTAL.fullmatch(text) and len(text) <= 12:
        if (mode := int(text, 8)) <= 0o7777:
            return mode, ""
    elif all(_SYMBOLIC.fullmatch(part) for part in text.split(",")):
        return 0, text
    raise InvalidError(
        f"invalid mode {text!r}", hint="--chmod takes octal digits up to 7777, or a symbolic form such as u=rwX,go=rX"
    )

"""Images' names and IDs, as people read them."""

from __future__ import annotations

from datetime import datetime

from boatyard.errors import InvalidError
from boatyard.image.reference import parse

NONE = "<none>"


def split(name: str) -> tuple[str, str, str]:
    """Repository, tag and digest in the short form; NONE for what isn't there."""
    try:
        reference = parse(name)
    except InvalidError:
        return name, NONE, NONE
    return reference.familiar_name(), reference.tag or NONE, str(reference.digest or NONE)


def familiar(name: str) -> str:
    try:
        return parse(name).familiar()
    except InvalidError:
        return name


def short(digest: str) -> str:
    """The first twelve digits."""
    return digest.partition(":")[2][:12] or digest[:12]


def moment(seconds: float | None) -> str:
    """Local time, as Docker writes it."""
    if not seconds:
        return "N/A"
    local = datetime.fromtimestamp(seconds).astimezone()
    return local.strftime("%Y-%m-%d %H:%M:%S %z ") + (local.tzname() or "")

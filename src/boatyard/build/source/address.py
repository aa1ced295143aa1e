"""Addresses of remote sources: the credentials that may stand in them, and how they are shown without."""

from __future__ import annotations

import base64
import re
import urllib.parse

_USERINFO = re.compile(r"(?P<scheme>[A-Za-z][\w+.-]*://)(?P<user>[^/?#@:]*)(?P<password>:[^/?#@]*)?@")
HIDDEN = "xxxxx"


def shown(address: str) -> str:
    """For messages, records and progress. The user alone is a secret with http(s), where it may be a token; with ssh
    it is who logs in."""

    def hide(match: re.Match[str]) -> str:
        if match["scheme"].lower() in ("http://", "https://"):
            return f"{match['scheme']}{HIDDEN}@"
        return f"{match['scheme']}{match['user']}{':' + HIDDEN if match['password'] else ''}@"

    return _USERINFO.sub(hide, address)


def without_credentials(url: str) -> tuple[str, str]:
    """An http(s) URL, and what its user and password come to as an Authorization header ("" when it has none)."""
    match = _USERINFO.match(url)
    if match is None:
        return url, ""
    user, password = (urllib.parse.unquote(part) for part in (match["user"], (match["password"] or ":")[1:]))
    header = base64.b64encode(f"{user}:{password}".encode()).decode()
    return match["scheme"] + url[match.end() :], f"Basic {header}"

"""Which proxy a URL is fetched through, by the environment variables that everybody knows."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from urllib.parse import urlsplit

_PORTS = {"http": 80, "https": 443}


def proxy_of(url: str, variables: Mapping[str, str]) -> str | None:
    """By `http_proxy`, `https_proxy`, `all_proxy` and `no_proxy`, in either case."""
    values = {name.lower(): value for name, value in variables.items() if value}
    parts = urlsplit(url)
    if not parts.hostname or _excepted(
        parts.hostname, parts.port or _PORTS.get(parts.scheme), values.get("no_proxy", "")
    ):
        return None
    proxy = values.get(f"{parts.scheme}_proxy") or values.get("all_proxy")
    if not proxy:
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


def _excepted(host: str, port: int | None, text: str) -> bool:
    host = host.lower().rstrip(".")
    for entry in (part.strip().lower() for part in text.split(",")):
        if entry == "*":
            return True
        name, _, wanted_port = entry.partition(":") if entry.count(":") == 1 else (entry, "", "")
        if not name or (wanted_port and wanted_port != str(port)):
            continue
        if host == name.lstrip(".") or host.endswith("." + name.lstrip("*.")):
            return True
        try:
            if ipaddress.ip_address(host) in ipaddress.ip_network(name, strict=False):
                return True
        except ValueError:
            continue
    return False

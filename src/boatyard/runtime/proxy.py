"""The host's proxy settings, as environment variables for a step.

Both spellings are set, because tools differ: curl reads `http_proxy` in lower case only, others the upper case only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

NAMES = ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY")


def from_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The settings found in an environment, in both spellings; the lower one wins where the two differ."""
    found: dict[str, str] = {}
    for name in NAMES:
        value = environ.get(name.lower()) or environ.get(name)
        if value:
            found[name] = value
            found[name.lower()] = value
    return found


def missing_from(env: Iterable[str], settings: Mapping[str, str]) -> tuple[str, ...]:
    """`settings` as NAME=VALUE entries, without those that `env` sets in either spelling: a step's own word counts."""
    present = {entry.partition("=")[0].upper() for entry in env}
    return tuple(f"{name}={value}" for name, value in sorted(settings.items()) if name.upper() not in present)

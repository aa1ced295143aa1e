"""The host's own apt sources, so that a bootstrap uses the mirror, keys and proxies that the host does.

Formats: sources.list(5), both one-line and deb822.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from boatyard.errors import NotFoundError


@dataclass(frozen=True, slots=True)
class AptSource:
    uri: str
    suite: str
    components: tuple[str, ...]
    signed_by: str = ""

    def line(self) -> str:
        options = f" [signed-by={self.signed_by}]" if self.signed_by else ""
        return f"deb{options} {self.uri} {self.suite} {' '.join(self.components)}".rstrip()


def host_sources(etc: Path = Path("/etc")) -> list[AptSource]:
    """What apt on this host installs binary packages from."""
    found: list[AptSource] = []
    for path in (etc / "apt/sources.list", *sorted((etc / "apt/sources.list.d").glob("*"))):
        if path.suffix == ".sources":
            found += _deb822(path.read_text())
        elif path.suffix == ".list" and path.is_file():
            found += _one_line(path.read_text())
    return found


def for_suite(suite: str, etc: Path = Path("/etc")) -> list[AptSource]:
    """The host's sources turned to another suite of the same archive: `bookworm-updates` becomes `trixie-updates`."""
    own = own_suite(etc)
    sources = [source for source in host_sources(etc) if source.suite.partition("-")[0].partition("/")[0] == own]
    if not sources:
        raise NotFoundError(
            "this host's apt has no sources of its own distribution to bootstrap from",
            hint="name a mirror: boat bootstrap --mirror URL",
        )
    if suite == own:
        return sources
    turned = [replace(source, suite=suite + source.suite.removeprefix(own), signed_by="") for source in sources]
    # Unstable has neither updates nor a security archive.
    return [source for source in turned if suite not in ("sid", "unstable") or source.suite == suite]


def own_suite(etc: Path = Path("/etc")) -> str:
    """The name of the host's release."""
    path = etc / "os-release"
    text = path.read_text() if path.exists() else ""
    for line in text.splitlines():
        name, _, value = line.partition("=")
        if name == "VERSION_CODENAME":
            return value.strip().strip('"')
    return ""


def _deb822(text: str) -> Iterator[AptSource]:
    for paragraph in text.split("\n\n"):
        fields: dict[str, list[str]] = {}
        name = ""
        for line in paragraph.splitlines():
            if line.startswith("#") or not line.strip():
                continue
            if line[0] in " \t" and name:
                fields[name] += line.split()
                continue
            name, _, value = line.partition(":")
            name = name.strip().lower()
            fields[name] = value.split()
        if "deb" not in fields.get("types", []) or fields.get("enabled", ["yes"])[0].lower() == "no":
            continue
        key = " ".join(fields.get("signed-by", []))
        for uri in fields.get("uris", []):
            for suite in fields.get("suites", []):
                # An armoured key inside the file can't go on one line: apt's default keyring serves then.
                yield AptSource(uri, suite, tuple(fields.get("components", [])), key if key.startswith("/") else "")


def _one_line(text: str) -> Iterator[AptSource]:
    for line in text.splitlines():
        line = line.partition("#")[0].strip()
        if not line.startswith("deb ") and not line.startswith("deb\t"):
            continue
        rest = line[4:].strip()
        options: dict[str, str] = {}
        if rest.startswith("["):
            inside, _, rest = rest[1:].partition("]")
            options = dict(option.partition("=")[::2] for option in inside.split())
        words = rest.split()
        if len(words) >= 2:
            yield AptSource(words[0], words[1], tuple(words[2:]), options.get("signed-by", ""))

"""References: how people name images, `[domain/]path[:tag][@digest]`.

Knows the grammar and Docker's way of filling in what people leave out: no domain means `docker.io`, one path element
there means `library/...`, no tag and no digest means `latest` (only where asked for: `with_default_tag`). Two spellings
of one image are equal once parsed.

Specification: the distribution project's reference grammar, as Docker's command line applies it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from boatyard.errors import InvalidError
from boatyard.image import digest as digests
from boatyard.image.digest import Digest

DEFAULT_DOMAIN = "docker.io"
DEFAULT_TAG = "latest"
_LEGACY_DOMAIN = "index.docker.io"
_OFFICIAL = "library/"
_LONGEST_PATH = 255
_LONGEST = 2048
"""Nobody's reference is longer; keeps patterns from being run over megabytes."""

_LABEL = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_DOMAIN = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?")
_ELEMENT = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_PATH = re.compile(rf"{_ELEMENT}(?:/{_ELEMENT})*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_IDENTIFIER = re.compile(r"[a-f0-9]{64}")


@dataclass(frozen=True, slots=True)
class Reference:
    """A normalised reference. Made by `parse`; `domain` and `path` are always there."""

    domain: str
    path: str
    tag: str | None = None
    digest: Digest | None = None

    @property
    def name(self) -> str:
        """Domain and path: the repository."""
        return f"{self.domain}/{self.path}"

    def __str__(self) -> str:
        return self.name + self._suffix()

    def familiar(self) -> str:
        """The short form that people type, which `parse` reads back to the same reference."""
        return self.familiar_name() + self._suffix()

    def familiar_name(self) -> str:
        """The short form without tag and digest."""
        if self.domain != DEFAULT_DOMAIN:
            return self.name
        for short in (self.path.removeprefix(_OFFICIAL), self.path):
            if not _IDENTIFIER.fullmatch(short) and _split_domain(short) == (self.domain, self.path):
                return short
        return self.name

    def with_tag(self, tag: str) -> Reference:
        """The same repository under `tag`; a digest is dropped, since it need not belong to that tag."""
        return replace(self, tag=_checked_tag(tag, tag), digest=None)

    def with_digest(self, digest: Digest) -> Reference:
        """The same name, pinned. The tag stays, as a remark."""
        return replace(self, digest=digests.parse(digest))

    def with_default_tag(self) -> Reference:
        """With `latest`, unless there is a tag or a digest already."""
        return self if self.tag or self.digest else replace(self, tag=DEFAULT_TAG)

    def repository(self) -> Reference:
        """Without tag and digest."""
        return replace(self, tag=None, digest=None)

    def _suffix(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        return f"{tag}@{self.digest}" if self.digest else tag


def parse(text: str) -> Reference:
    """Read and normalise a reference. Raises InvalidError that says what is wrong with it. Adds no tag."""
    if problem := _first_glance(text):
        raise _invalid(text, *problem)
    rest, at, digest_text = text.partition("@")
    digest = _checked_digest(digest_text, text) if at else None
    tag: str | None = None
    slash, colon = rest.rfind("/"), rest.rfind(":")
    if colon > slash:
        rest, tag = rest[:colon], _checked_tag(rest[colon + 1 :], text)
    domain, path = _split_domain(rest)
    _check_name(domain, path, text)
    return Reference(domain, path, tag, digest)


def is_identifier(text: str) -> bool:
    """Whether `text` is 64 hexadecimal digits: a full image ID, never a name."""
    return _IDENTIFIER.fullmatch(text) is not None


def _split_domain(name: str) -> tuple[str, str]:
    """The first element is a domain if it can't be a path element of Docker Hub: it has a dot, a colon or a capital
    letter, or is `localhost`."""
    first, slash, rest = name.partition("/")
    if slash and (first == "localhost" or "." in first or ":" in first or first.lower() != first):
        domain, path = first, rest
    else:
        domain, path = DEFAULT_DOMAIN, name
    if domain == _LEGACY_DOMAIN:
        domain = DEFAULT_DOMAIN
    if domain == DEFAULT_DOMAIN and "/" not in path:
        path = _OFFICIAL + path
    return domain, path


def _first_glance(text: str) -> tuple[str, str | None] | None:
    """What is wrong with the text as a whole, and what to do about it."""
    if not text:
        return "it is empty", "name an image, such as debian:bookworm-slim"
    if len(text) > _LONGEST:
        return f"it is {len(text)} characters long", None
    if text != text.strip():
        return "it has white space around it", f"use {text.strip()!r}"
    if any(char.isspace() for char in text):
        return "it contains white space", "an image name is one word, such as debian:bookworm-slim"
    if "://" in text:
        return "it is a URL", f"leave out the scheme: {text.partition('://')[2]!r}"
    if text.startswith("-"):
        return "it starts with a dash", "a flag goes before the image name, and takes two dashes"
    if _IDENTIFIER.fullmatch(text):
        return "64 hexadecimal digits are an image ID, not a name", "put sha256: before it to name it by digest"
    if digests.is_digest(text):
        return "it is a digest without a name", f"write NAME@{text}"
    return None


def _check_name(domain: str, path: str, text: str) -> None:
    if not path:
        raise _invalid(text, "there is nothing after the domain", f"name a repository: {domain}/NAME")
    if not _DOMAIN.fullmatch(domain):
        raise _invalid(
            text, f"{domain!r} is not a host name with an optional port", "a domain looks like example.org:5000"
        )
    if not _PATH.fullmatch(path):
        raise _invalid(text, *_path_problem(path))
    if len(path) > _LONGEST_PATH:
        raise _invalid(text, f"the repository name has {len(path)} characters", f"at most {_LONGEST_PATH} are allowed")


def _path_problem(path: str) -> tuple[str, str | None]:
    if path.lower() != path:
        return "a repository name must be lowercase", f"use {path.lower().removeprefix(_OFFICIAL)!r}"
    if "//" in path or path.startswith("/") or path.endswith("/"):
        return "it has an empty path element", "remove the extra slash"
    if bad := sorted({char for char in path if not re.match(r"[a-z0-9._/-]", char)}):
        return f"{bad[0]!r} is not allowed in a repository name", "lowercase letters, digits, '.', '_', '-' and '/' are"
    return "'.', '_' and '-' must stand between letters or digits", "at most one '.', two '_' or any number of '-'"


def _checked_tag(tag: str, text: str) -> str:
    if not tag:
        raise _invalid(text, "there is nothing after the colon", "remove the colon, or add a tag")
    if len(tag) > 128:
        raise _invalid(text, f"the tag has {len(tag)} characters", "at most 128 are allowed")
    if not _TAG.fullmatch(tag):
        raise _invalid(
            text,
            f"{tag!r} is not a tag",
            "letters, digits, '_', '.' and '-' are allowed; it can't start with '.' or '-'",
        )
    return tag


def _checked_digest(text: str, whole: str) -> Digest:
    if not digests.is_digest(text):
        raise _invalid(whole, f"{text[:80]!r} is not a digest", "a digest looks like sha256:<64 hexadecimal digits>")
    return Digest(text)


def _invalid(text: str, problem: str, hint: str | None) -> InvalidError:
    shown = text if len(text) <= 160 else text[:157] + "..."
    return InvalidError(f"invalid image name {shown!r}: {problem}", hint=hint)

"""Git addresses as builds write them: `https://example.org/team/project.git?branch=main#ref:subdirectory`.

    https://HOST/PATH.git  http://...     only with `.git` at the end of the path: other URLs are files
    git://HOST/PATH  ssh://HOST/PATH      always
    USER@HOST:PATH                        git's short form for ssh
    github.com/PATH                       an old form, only for build contexts; it could be a local path as well

`#REF`, `#REF:SUBDIRECTORY` and the parameters ref, tag, branch, subdir, checksum (commit), keep-git-dir, submodules,
mtime and fetch-by-commit may follow. Specification: the Dockerfile reference, "ADD"; git-clone(1), "GIT URLS".
"""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlsplit, urlunsplit

from boatyard.build.frontend.dockerfile.suggest import did_you_mean
from boatyard.errors import InvalidError

_PROTOCOL = re.compile(r"([a-zA-Z0-9]+)://")
_SHORT = re.compile(r"([a-zA-Z0-9_-]+)@([a-zA-Z0-9.-]+):([^?#]*)(?:\?([^#]*))?(?:#(.*))?", re.DOTALL)
_PROTOCOLS = frozenset({"http", "https", "ssh", "git"})
_TRUTHS = {
    **dict.fromkeys(("1", "t", "T", "true", "TRUE", "True"), True),
    **dict.fromkeys(("0", "f", "F", "false", "FALSE", "False"), False),
}
_SWITCHES = ("keep-git-dir", "submodules", "fetch-by-commit")
_WORDS = ("ref", "tag", "branch", "subdir", "checksum", "commit", "mtime")


@dataclass(frozen=True, slots=True)
class GitReference:
    """`remote` is what git is given, `host` and `path` what tells repositories apart whatever the protocol.

    `ambiguous`: the old form, which only means git where nothing else can be meant. None: not said."""

    remote: str
    protocol: str
    host: str
    path: str
    ref: str = ""
    subdirectory: str = ""
    checksum: str = ""
    keep_git_dir: bool | None = None
    submodules: bool | None = None
    mtime: str = ""
    fetch_by_commit: bool = False
    ambiguous: bool = False


def parse(text: str) -> GitReference | None:
    """None when `text` is no git address. InvalidError when it is one with parameters that make no sense."""
    if text.startswith(("./", "../", "/")):
        return None
    if text.startswith("github.com/"):
        return _of_url("https://" + text, ambiguous=True)
    if match := _PROTOCOL.match(text):
        return _of_url(text) if match[1].lower() in _PROTOCOLS else None
    if match := _SHORT.fullmatch(text):
        user, host, path, query, fragment = match.groups(default="")
        return _with_parameters(f"{user}@{host}:{path}", "ssh", host, path, query, fragment)
    return None


def _of_url(text: str, *, ambiguous: bool = False) -> GitReference | None:
    try:
        url = urlsplit(text)
        host = url.netloc.rpartition("@")[2]
        _ = url.port
    except ValueError:
        return None
    if url.scheme in ("http", "https") and not ambiguous and not url.path.endswith(".git"):
        return None
    remote = urlunsplit((url.scheme, url.netloc, url.path, "", ""))
    return _with_parameters(remote, url.scheme, host, url.path, url.query, url.fragment, ambiguous)


def _with_parameters(
    remote: str, protocol: str, host: str, path: str, query: str, fragment: str, ambiguous: bool = False
) -> GitReference:
    ref, _, subdirectory = fragment.partition(":")
    subdirectory = posixpath.normpath("/" + subdirectory).strip("/")
    words, switches = _read_query(query)
    ref = _agree("ref", ref, words.get("ref", ""))
    if words.get("tag") and words.get("branch"):
        raise InvalidError("a git address can't name both a tag and a branch")
    for name, prefix in (("tag", "refs/tags/"), ("branch", "refs/heads/")):
        if name in words:
            ref = _agree("ref", ref, prefix + words[name].removeprefix(prefix))
    if words.get("mtime", "checkout") not in ("checkout", "commit"):
        raise InvalidError(f"invalid mtime {words['mtime']!r} in a git address", hint="it is checkout or commit")
    return GitReference(
        remote=remote,
        protocol=protocol,
        host=host,
        path=path,
        ref=ref,
        subdirectory=_agree("subdir", subdirectory, words.get("subdir", "")),
        checksum=words.get("checksum", words.get("commit", "")),
        keep_git_dir=switches.get("keep-git-dir"),
        submodules=switches.get("submodules"),
        mtime=words.get("mtime", ""),
        fetch_by_commit=switches.get("fetch-by-commit", False),
        ambiguous=ambiguous,
    )


def _agree(name: str, one: str, other: str) -> str:
    if one and other and one != other:
        raise InvalidError(f"a git address has two values for {name}: {one!r} and {other!r}")
    return one or other


def _read_query(query: str) -> tuple[dict[str, str], dict[str, bool]]:
    words: dict[str, str] = {}
    switches: dict[str, bool] = {}
    for name, value in parse_qsl(query, keep_blank_values=True, max_num_fields=50):
        if name in words or name in switches:
            raise InvalidError(f"a git address has {name!r} more than once")
        if name in _SWITCHES:
            if value and value not in _TRUTHS:
                raise InvalidError(f"invalid {name} {value!r} in a git address", hint="it is true or false")
            switches[name] = _TRUTHS.get(value, True)
        elif name not in _WORDS:
            near = did_you_mean(name, (*_WORDS, *_SWITCHES))
            raise InvalidError(f"unknown parameter {name!r} in a git address{near}")
        elif not value:
            raise InvalidError(f"the parameter {name!r} of a git address has no value")
        else:
            words[name] = value
    return words, switches

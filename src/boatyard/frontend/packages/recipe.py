"""What the keys of the document mean, as values; each with its place."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from boatyard.build.frontend.dockerfile.convert.owner import parse_mode
from boatyard.errors import InvalidError
from boatyard.frontend.packages.document import Text, Value, parse
from boatyard.frontend.packages.expansion import Expansion
from boatyard.frontend.place import Place, SourceFile

KEYS = (
    "arguments",
    "base",
    "apt",
    "pip",
    "files",
    "environment",
    "user",
    "directory",
    "entrypoint",
    "command",
    "ports",
    "volumes",
    "labels",
)
FILE_KEYS = ("from", "text", "to", "mode", "owner")
USER_KEYS = ("name", "id", "home")

_APT = re.compile(r"[a-z0-9][a-z0-9+.-]+(:[a-z0-9-]+)?([=/][A-Za-z0-9.+:~*-]+)?")
_PIP = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?(\[[A-Za-z0-9._, -]+\])?\s*([=<>!~]=?=?.*|@.*)?")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_ACCOUNT = re.compile(r"[a-z_][a-z0-9_-]*\$?")
_PORT = re.compile(r"[0-9]{1,5}(/(tcp|udp|sctp))?")
_OCTAL = re.compile(r"[0-7]{1,5}")
_HIGHEST_ID = 2**32 - 2


@dataclass(frozen=True, slots=True)
class Copied:
    """A file or directory of the image: `path` in the context, or `text` as it stands in the document."""

    to: str
    at: Place
    path: str = ""
    text: str | None = None
    mode: str = ""
    owner: str = ""


@dataclass(frozen=True, slots=True)
class Account:
    """Who the container runs as. One with `id` or `home` is made."""

    name: str
    id: int | None = None
    home: str = ""
    at: Place | None = None

    @property
    def is_made(self) -> bool:
        return self.id is not None or bool(self.home)


@dataclass(frozen=True, slots=True)
class Argument:
    """`value` is the request's, or else the document's own."""

    name: str
    value: str
    at: Place


@dataclass(frozen=True, slots=True)
class Recipe:
    file: SourceFile
    base: Text
    arguments: tuple[Argument, ...] = ()
    apt: tuple[Text, ...] = ()
    pip: tuple[Text, ...] = ()
    files: tuple[Copied, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    user: Account | None = None
    directory: str = ""
    entrypoint: tuple[str, ...] | None = None
    command: tuple[str, ...] | None = None
    ports: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    used: frozenset[str] = frozenset()
    """The arguments that something refers to."""


def read(file: SourceFile, given: Mapping[str, str]) -> Recipe:
    """`given`: the request's build arguments. FrontendError says what is wrong, and where."""
    document = parse(file)
    fields = document.fields(KEYS)
    if "base" not in fields:
        raise document.at.file.place(1).error(
            "the document has no base", hint="name the image to begin with, as in `base: debian:bookworm-slim`"
        )
    arguments = _arguments(fields.get("arguments"), given)
    words = Expansion({argument.name: argument.value for argument in arguments})

    def strings(name: str) -> tuple[str, ...] | None:
        return tuple(words(item) for item in fields[name].texts()) if name in fields else None

    return Recipe(
        file=file,
        base=Text(words(fields["base"].text()), fields["base"].at),
        arguments=arguments,
        apt=_packages(fields.get("apt"), words, _APT, "Debian package"),
        pip=_packages(fields.get("pip"), words, _PIP, "Python package"),
        files=tuple(_file(item, words) for item in fields["files"].items()) if "files" in fields else (),
        environment=_table(fields.get("environment"), words, _VARIABLE),
        user=_account(fields["user"], words) if "user" in fields else None,
        directory=_path(fields["directory"], words) if "directory" in fields else "",
        entrypoint=strings("entrypoint"),
        command=strings("command"),
        ports=tuple(_matching(item, words, _PORT, "port, as in 80 or 53/udp") for item in _list(fields.get("ports"))),
        volumes=tuple(_absolute(item, words(item)) for item in _list(fields.get("volumes"))),
        labels=_table(fields.get("labels"), words, None),
        used=words.used,
    )


def _arguments(value: Value | None, given: Mapping[str, str]) -> tuple[Argument, ...]:
    if value is None:
        return ()
    found = []
    for name, field_ in value.fields().items():
        if not _VARIABLE.fullmatch(name):
            raise field_.error(f"{name!r} can't be the name of an argument", hint="it has letters, digits and _")
        default = field_.text()
        found.append(Argument(name, given.get(name, default.value), default.at))
    return tuple(found)


def _list(value: Value | None) -> tuple[Text, ...]:
    return value.texts() if value is not None else ()


def _packages(value: Value | None, words: Expansion, pattern: re.Pattern[str], what: str) -> tuple[Text, ...]:
    return tuple(Text(_matching(item, words, pattern, what), item.at) for item in _list(value))


def _matching(item: Text, words: Expansion, pattern: re.Pattern[str], what: str) -> str:
    text = words(item)
    if not pattern.fullmatch(text):
        raise item.at.error(f"{text!r} is no {what}")
    return text


def _file(value: Value, words: Expansion) -> Copied:
    fields = value.fields(FILE_KEYS)
    if "to" not in fields:
        raise value.error("the file has no `to`: where it goes in the image")
    if ("from" in fields) == ("text" in fields):
        raise value.error("a file has either `from`, its path in the build context, or `text`, what is in it")
    to = _path(fields["to"], words)
    mode = words(fields["mode"].text()) if "mode" in fields else ""
    try:
        parse_mode(mode)
    except InvalidError as error:
        raise fields["mode"].error(error.message, hint="as in 0755, or u=rwX,go=rX") from error
    owner = words(fields["owner"].text()) if "owner" in fields else ""
    if "text" in fields:
        if to.endswith("/"):
            raise fields["to"].error(f"{to!r} is a directory, and the text needs a file's name")
        if not _OCTAL.fullmatch(mode or "0"):
            raise fields["mode"].error(f"{mode!r} changes a mode, and the text's file has none yet", hint="as in 0755")
        return Copied(to, value.at, text=words(fields["text"].text()), mode=mode, owner=owner)
    return Copied(to, value.at, path=words(fields["from"].text()), mode=mode, owner=owner)


def _account(value: Value, words: Expansion) -> Account:
    if not value.is_mapping:
        return Account(words(value.text()), at=value.at)
    fields = value.fields(USER_KEYS)
    if "name" not in fields:
        raise value.error("the user has no name")
    name = words(fields["name"].text())
    if not _ACCOUNT.fullmatch(name):
        raise fields["name"].error(f"{name!r} can't be the name of a user that is made")
    id = None
    if "id" in fields:
        text = words(fields["id"].text())
        if not (text.isascii() and text.isdecimal() and int(text[:11]) <= _HIGHEST_ID):
            raise fields["id"].error(f"{text!r} is no user ID")
        id = int(text)
    return Account(name, id, _path(fields["home"], words) if "home" in fields else "", value.at)


def _path(value: Value, words: Expansion) -> str:
    item = value.text()
    return _absolute(item, words(item))


def _absolute(item: Text, path: str) -> str:
    if not path.startswith("/"):
        raise item.at.error(f"{path!r} is not an absolute path", hint=f"did you mean {'/' + path!r}?")
    return path


def _table(value: Value | None, words: Expansion, pattern: re.Pattern[str] | None) -> dict[str, str]:
    if value is None:
        return {}
    found = {}
    for name, field_ in value.fields().items():
        if pattern is not None and not pattern.fullmatch(name):
            raise field_.error(f"{name!r} can't be the name of a variable")
        found[name] = words(field_.text())
    return found

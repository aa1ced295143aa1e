"""The Dockerfile's instructions as frozen values.

`parser.parse` makes them from text. Variables are not expanded: `expansion.expand` returns an instruction with its
words expanded, once the stage's environment is known. Nothing here knows the build graph.

Specification: the Dockerfile reference, version 1.26.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from boatyard.build.frontend.dockerfile.ast import Heredoc, Range
from boatyard.build.frontend.dockerfile.directives import Directives
from boatyard.build.frontend.dockerfile.lint import Finding


@dataclass(frozen=True, slots=True, kw_only=True)
class Instruction:
    """What all instructions have.

    `text` is the logical line as written (continuations joined, no heredoc bodies): progress names and history show it.
    `flags` are the names of the flags that were given (`chown`, `mount`), without dashes."""

    keyword: str
    """As written; `name` is in capitals."""
    text: str
    range: Range
    flags: tuple[str, ...] = ()
    comments: tuple[str, ...] = ()
    """Comment lines right above the instruction, without `#` and surrounding blanks."""

    @property
    def name(self) -> str:
        return self.keyword.upper()


@dataclass(frozen=True, slots=True)
class KeyValue:
    """`key=value`, or the old form `key value` (`legacy`)."""

    key: str
    value: str
    legacy: bool = False


@dataclass(frozen=True, slots=True)
class Argument:
    """One name of an ARG. `value` is None without a default. `comment` is the description in a `# name description`
    comment above it."""

    key: str
    value: str | None = None
    comment: str = ""


@dataclass(frozen=True, slots=True)
class CommandLine:
    """What RUN, CMD and ENTRYPOINT run.

    `shell` True: `words` is one string (empty tuple: nothing given) for the stage's SHELL. False: the JSON form,
    `words` is the argument vector. `files` are heredocs that follow (RUN only). A lone heredoc (`RUN <<EOF`) is
    `words == ("<<EOF",)` with one file: the body is the script."""

    words: tuple[str, ...]
    shell: bool
    files: tuple[Heredoc, ...] = ()


@dataclass(frozen=True, slots=True)
class InlineFile:
    """A heredoc as a source of COPY or ADD: a file called `path` with `data`. `expand`: variables in `data` are to be
    expanded."""

    path: str
    data: str
    expand: bool = True


# -- FROM ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Stage:
    """FROM and the instructions up to the next one.

    `base` and `platform` are not expanded. `stage_name` is in lower case, "" when there is none; `written_name` as it
    was written."""

    index: int
    base: str
    stage_name: str
    written_name: str
    platform: str
    instructions: tuple[Instruction, ...]
    keyword: str
    text: str
    range: Range
    comment: str = ""
    """The description in a `# name description` comment above FROM."""
    comments: tuple[str, ...] = ()
    as_keyword: str = ""
    """AS, as it was written."""


@dataclass(frozen=True, slots=True)
class Dockerfile:
    """A parsed file. `source` is the decoded text that ranges point into. `arguments` are the ARGs before the first
    FROM.

    `findings` are the lint findings that need nothing but the text, none of them filtered: hand them to
    `lint.LintReport`."""

    filename: str
    source: str
    directives: Directives
    arguments: tuple[Arg, ...]
    stages: tuple[Stage, ...]
    findings: tuple[Finding, ...] = ()

    def stage_index(self, name: str, *, before: int | None = None) -> int | None:
        """The latest stage of that name (any case), of those before index `before`. Numbers are not looked at."""
        wanted = name.lower()
        for stage in reversed(self.stages[:before]):
            if stage.stage_name and stage.stage_name == wanted:
                return stage.index
        return None


# -- files -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer(Instruction):
    """What COPY and ADD share. `sources` are paths, patterns and URLs; heredocs are in `inline`. `chmod` is octal or
    symbolic."""

    sources: tuple[str, ...]
    destination: str
    inline: tuple[InlineFile, ...] = ()
    chown: str = ""
    chmod: str = ""
    link: bool = False
    exclude: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Add(Transfer):
    """`keep_git_dir` and `unpack` are None when the flag wasn't given."""

    checksum: str = ""
    keep_git_dir: bool | None = None
    unpack: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy(Transfer):
    """`from_` is a stage's name or number, an image or a named context; not expanded, ever; "" is the build context."""

    from_: str = ""
    parents: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Workdir(Instruction):
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume(Instruction):
    paths: tuple[str, ...]


# -- processes -------------------------------------------------------------------------------------------------------


class MountType(StrEnum):
    BIND = "bind"
    CACHE = "cache"
    TMPFS = "tmpfs"
    SECRET = "secret"
    SSH = "ssh"


class Sharing(StrEnum):
    SHARED = "shared"
    PRIVATE = "private"
    LOCKED = "locked"


class Network(StrEnum):
    DEFAULT = "default"
    NONE = "none"
    HOST = "host"


class Security(StrEnum):
    SANDBOX = "sandbox"
    INSECURE = "insecure"


@dataclass(frozen=True, slots=True)
class MountFlag:
    """`--mount` as written. `from_` is known before expansion, since it is never expanded; "" when it isn't given.
    `mounts.parse_mount` makes a `Mount` of it."""

    text: str
    from_: str = ""


@dataclass(frozen=True, slots=True)
class Mount:
    """A parsed and expanded `--mount`. None: not given, the default is for the converter to choose."""

    type: MountType
    from_: str = ""
    source: str = ""
    target: str = ""
    readonly: bool = False
    id: str = ""
    sharing: Sharing = Sharing.SHARED
    required: bool = False
    size: int = 0
    """Bytes, 0 without limit (tmpfs)."""
    mode: int | None = None
    uid: int | None = None
    gid: int | None = None
    env: str | None = None
    """The variable that holds the secret."""


@dataclass(frozen=True, slots=True)
class DeviceFlag:
    """`--device=NAME[,required]`."""

    name: str
    required: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Run(Instruction):
    command: CommandLine
    mounts: tuple[MountFlag, ...] = ()
    network: Network = Network.DEFAULT
    security: Security = Security.SANDBOX
    devices: tuple[DeviceFlag, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Cmd(Instruction):
    command: CommandLine


@dataclass(frozen=True, slots=True, kw_only=True)
class Entrypoint(Instruction):
    command: CommandLine


@dataclass(frozen=True, slots=True, kw_only=True)
class Shell(Instruction):
    words: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Healthcheck(Instruction):
    """`test` is ("NONE",), ("CMD", word, ...) or ("CMD-SHELL", text), as the image config has it. Durations are
    nanoseconds, 0 when not given."""

    test: tuple[str, ...]
    interval: int = 0
    timeout: int = 0
    start_period: int = 0
    start_interval: int = 0
    retries: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopsignal(Instruction):
    signal: str


@dataclass(frozen=True, slots=True, kw_only=True)
class User(Instruction):
    user: str


# -- metadata --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Arg(Instruction):
    arguments: tuple[Argument, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Env(Instruction):
    pairs: tuple[KeyValue, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Label(Instruction):
    """Keys are expanded too."""

    pairs: tuple[KeyValue, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Expose(Instruction):
    """`ports` in sorted order, as written: `ports.parse_port` reads them after expansion."""

    ports: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Maintainer(Instruction):
    maintainer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Onbuild(Instruction):
    """`expression` is the trigger as the image config keeps it, heredoc bodies included; `parser.parse_trigger` reads
    it."""

    expression: str

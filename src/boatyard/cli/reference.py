"""Write `docs/reference/cli.md`: every command, its options, and the exit codes, as `boat --help` has them.

    python -m boatyard.cli.reference docs/reference/cli.md

A test fails when the page and the commands differ.
"""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterator, Sequence

from boatyard.cli import exits, template
from boatyard.cli.listing import FORMAT_HELP
from boatyard.cli.tree import Command, walk

_HEAD = """\
# The command line

Made from the commands themselves: run `python -m boatyard.cli.reference docs/reference/cli.md` after changing one.

`boat` starts `boatd` by itself when none answers. `--host` or `BOAT_HOST` choose another daemon.
Flags carry Docker's names where Docker has them. The flags of `build` and `run` that take no value may be written as
`--flag`, `--flag=true` or `--flag=false`.
Results go to standard output, everything else (progress, remarks, errors) to standard error.
"""

_FORMATS = """\
## Formats

Where something is listed, `--format` takes {help}

Templates are the part of Go's that Docker's users write:

```
{subset}
```

`{{{{json .}}}}` shows the fields there are.
"""

_ENVIRONMENT = (
    ("BOAT_HOST", "the daemon's address, as `--host`"),
    ("BOAT_CERT_PATH", "a directory with `ca.pem`, `cert.pem` and `key.pem` for `tcp://` addresses"),
    ("BOAT_TLS_CACERT, BOAT_TLS_CERT, BOAT_TLS_KEY", "single files instead, as `--tlscacert`, `--tlscert`, `--tlskey`"),
    ("BOAT_TLS_VERIFY", "`0`: `tcp://` without TLS, for a daemon that serves so"),
    ("BUILDKIT_PROGRESS", "the default of `boat build --progress`"),
    ("BUILDX_BAKE_FILE", "the files of `boat bake` without `-f`, with `:` between them (BUILDX_BAKE_PATH_SEPARATOR)"),
    ("BUILDX_BAKE_FILE_RELATIVE_PATHS", "`1`: contexts of `boat bake` are relative to the files that say them"),
    ("BUILDX_BAKE_DISABLE_VARS_ENV_LOOKUP", "`1`: variables of `boat bake` don't come from the environment"),
    ("BUILDX_BAKE_ENTITLEMENTS_FS", "`0`: definitions of `boat bake` may touch all files without `--allow`"),
    ("EXPERIMENTAL_BUILDKIT_SOURCE_POLICY", "a file for `boat build` without `--source-policy-file`"),
    ("NO_COLOR", "no colours (any value); FORCE_COLOR and CLICOLOR_FORCE the opposite"),
    ("TERM", "`dumb` (or nothing): plain progress without colours"),
    ("SOURCE_DATE_EPOCH", "the time of all that is made by `boat build` and `boat bootstrap`"),
    ("SSH_AUTH_SOCK", "the agent that `boat build --ssh default` offers"),
    ("HTTP_PROXY, HTTPS_PROXY, FTP_PROXY, NO_PROXY, ALL_PROXY", "proxies of steps and downloads; lower case too"),
)


def page(commands: Sequence[Command]) -> str:
    return "\n".join(_lines(commands)) + "\n"


def _lines(commands: Sequence[Command]) -> Iterator[str]:
    yield _HEAD
    yield "## Exit codes\n"
    yield "| code | meaning |"
    yield "|---|---|"
    codes: dict[int, list[str]] = {}
    for code, text in (*((code, text) for _, code, text in exits.CODES), *exits.OTHERS):
        codes.setdefault(code, []).append(text)
    yield from (f"| {code} | {'; '.join(codes[code])} |" for code in sorted(codes))
    yield "\n## Environment\n"
    yield "| variable | meaning |"
    yield "|---|---|"
    yield from (f"| {name} | {text} |" for name, text in _ENVIRONMENT)
    subset = textwrap.dedent((template.__doc__ or "").partition("\n\n")[2].partition("\n\n")[0])
    yield "\n" + _FORMATS.format(help=FORMAT_HELP.replace("|", "\\|"), subset=subset)
    for command in commands:
        yield from _section(command)


def _section(command: Command) -> Iterator[str]:
    yield f"## {command.name}\n"
    yield f"```\n{command.usage}\n```\n"
    yield from _prose(command.help)
    if command.commands:
        yield "| command | |"
        yield "|---|---|"
        yield from (f"| `{command.name} {name}` | {summary} |" for name, summary in command.commands.items())
        yield ""
    if command.options:
        yield "| option | |"
        yield "|---|---|"
        for option in command.options:
            names = ", ".join(f"`{name}`" for name in option.names)
            value = f" `{_escaped(option.value)}`" if option.value else ""
            yield f"| {names}{value} | {_escaped(option.help)} |"
        yield ""


def _prose(text: str) -> Iterator[str]:
    """Paragraphs; those that are indented are code."""
    for paragraph in text.split("\n\n"):
        lines = paragraph.strip("\n").splitlines()
        if lines and all(line.startswith("  ") for line in lines):
            yield "```"
            yield from (line[2:] for line in lines)
            yield "```"
        else:
            yield " ".join(line.strip() for line in lines)
        yield ""


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    with open(sys.argv[1], "w", encoding="utf-8") as file:
        file.write(page(tuple(walk())))

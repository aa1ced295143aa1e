"""`boat bake --list`: the targets or the variables of a definition."""

from __future__ import annotations

from boatyard.bake import printed
from boatyard.bake.definition import Definition
from boatyard.cli import attributes, suggest
from boatyard.cli.console import Console
from boatyard.cli.table import table
from boatyard.errors import InvalidError

_KINDS = ("targets", "variables")


def show(console: Console, definition: Definition, wanted: str) -> None:
    kind, form = parse(wanted)
    rows = printed.targets(definition) if kind == "targets" else printed.variables(definition.variables)
    if form == "json":
        console.out(printed.written(rows))
        return
    if kind == "targets":
        lines = [["TARGET", "DESCRIPTION"], *([str(row["name"]), str(row.get("description", ""))] for row in rows)]
    else:
        lines = [["VARIABLE", "TYPE", "VALUE", "DESCRIPTION"]]
        for row in rows:
            lines.append([str(row.get(key, "<null>" if key == "value" else "")) for key in _COLUMNS])
    console.out("".join(line + "\n" for line in table(lines)))


_COLUMNS = ("name", "type", "value", "description")


def parse(wanted: str) -> tuple[str, str]:
    """`targets`, or `type=targets,format=json`."""
    if "=" not in wanted:
        kind, form = wanted, "table"
    else:
        given = attributes.pairs(wanted, "--list", ("type", "format"))
        kind, form = given.get("type", ""), given.get("format", "table")
    if kind not in _KINDS:
        hint = suggest.hint(kind, _KINDS, otherwise=f"there are: {', '.join(_KINDS)}")
        raise InvalidError(f"--list: there is no {kind!r}", hint=hint)
    if form not in ("table", "json"):
        raise InvalidError(f"--list: there is no format {form!r}", hint="it is format=table or format=json")
    return kind, form

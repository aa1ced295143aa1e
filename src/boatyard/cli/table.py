"""Lists, as `--format` wants them: a table with Docker's column names, JSON (one object a line), or a template."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from boatyard.cli.render.lines import harmless
from boatyard.cli.render.width import columns as width_of

Row = Mapping[str, Any]
"""Field name -> value. Fields are named as Docker's templates name them, and JSON has all of them."""

GAP = "   "


def listing(rows: Sequence[Row], headers: Mapping[str, str], form: str = "table", *, quiet: str = "") -> Iterator[str]:
    """The lines to print. `headers`: field -> heading, in the table's order. `quiet` names the only field to show."""
    if quiet:
        yield from (str(row[quiet]) for row in rows)
    elif form in ("", "table"):
        yield from table([list(headers.values()), *([_cell(row[name]) for name in headers] for row in rows)])
    elif form == "json":
        yield from (json.dumps(row, ensure_ascii=False) for row in rows)
    else:
        yield from _templated(rows, headers, form)


def _templated(rows: Sequence[Row], headers: Mapping[str, str], form: str) -> Iterator[str]:
    from boatyard.cli.template import Template, fields_of

    if not form.startswith("table "):
        template = Template(form)
        yield from (template.render(row) for row in rows)
        return
    body = form.removeprefix("table ").replace("\\t", "\t")
    template = Template(body)
    heads = [headers.get(name, _heading(name)) for name in fields_of(body)]
    yield from table([heads, *(template.render(row).split("\t") for row in rows)])


def table(lines: Sequence[Sequence[str]]) -> Iterator[str]:
    """Cells in columns, the last one unpadded."""
    count = max(map(len, lines), default=0)
    widths = [max((width_of(line[at]) for line in lines if at < len(line)), default=0) for at in range(count)]
    for line in lines:
        padded = (cell + " " * (width - width_of(cell)) for cell, width in zip(line, widths, strict=False))
        yield GAP.join(padded).rstrip()


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return harmless(str(value))


def _heading(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).upper()

"""What is told of a build that succeeded: files that name the result, and what the context was."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from boatyard.cli import outfile, units
from boatyard.cli.table import table
from boatyard.client.documents.builds import BuildResult, ContextFile, ContextReport


def write_text(path: str, text: str) -> None:
    outfile.write(path, text.encode())


def write_metadata(path: str, result: BuildResult) -> None:
    write_json(path, metadata(result))


def write_json(path: str, document: object) -> None:
    outfile.write(path, json.dumps(document, indent=2, ensure_ascii=False).encode() + b"\n")


def metadata(result: BuildResult) -> dict[str, object]:
    """BuildKit's keys, documents among them decoded, and the build's reference."""
    metadata: dict[str, object] = {key: _decoded(value) for key, value in sorted(result.response.items())}
    metadata["boat.build.ref"] = result.ref
    if len(result.exports) > 1:
        metadata["boat.build.exports"] = [
            {key: _decoded(value) for key, value in sorted(response.items())} for response in result.exports
        ]
    return metadata


def _decoded(value: str) -> object:
    if not value.startswith(("{", "[")):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value


def context_lines(reports: Sequence[ContextReport]) -> Iterator[str]:
    read = {report.name for report in reports if report.files}
    for report in reports:
        if not report.files and report.name in read:
            continue  # only looked into, for an ignore file
        known = report.bytes - report.read_bytes
        yield f"{report.name}: {_files(report.files)}, {units.size(report.bytes)}"
        yield f"  read now {units.size(report.read_bytes)}, known from earlier builds {units.size(max(known, 0))}"
        if report.largest:
            yield "  largest files:"
            yield from _listed(report.largest)
        left_out = f"{_files(report.ignored_files)}, {units.size(report.ignored_bytes)}"
        yield f"  left out by the ignore file: {left_out if report.ignored_files or report.ignored else 'nothing'}"
        if report.ignored:
            yield from _listed(report.ignored)
    if not reports:
        yield "no local context was read"


def _files(count: int) -> str:
    return f"{count} file{'s' if count != 1 else ''}"


def _listed(files: Sequence[ContextFile]) -> Iterator[str]:
    yield from (f"    {line}" for line in table([[units.size(file.size).rjust(8), file.path] for file in files]))

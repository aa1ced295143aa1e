"""Questions about a Dockerfile that are answered without building it (`--call`, `--check`).

The documents are BuildKit's (`frontend/subrequests`): clients read `result.json`, print `result.txt` and end with
`result.statuscode`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from boatyard.build.frontend.dockerfile import checks, outline, targets
from boatyard.build.frontend.dockerfile.convert.converter import Source, convert
from boatyard.build.frontend.dockerfile.instructions import Dockerfile
from boatyard.build.frontend.dockerfile.lint import LintReport
from boatyard.build.llb import codec
from boatyard.build.llb.graph import Graph
from boatyard.errors import BoatyardError, UnknownQuestionError

DESCRIBE = "frontend.subrequests.describe"
OUTLINE = "frontend.outline"
TARGETS = "frontend.targets"
LINT = "frontend.lint"
CONVERT = "frontend.convertllb"
_ABOUT = {
    OUTLINE: ("1.0.0", "List all parameters current build target supports"),
    TARGETS: ("1.0.0", "List all targets current build supports"),
    LINT: ("1.0.0", "Lint a Dockerfile"),
    CONVERT: ("0.1.0", "Convert Dockerfile to LLB"),
    DESCRIBE: ("1.0.0", "List available subrequest types"),
}
"""Version and description, in the words that clients know them by."""
_RESULTS = {LINT: ("result.json", "result.txt", "result.statuscode"), CONVERT: ("result.json",)}

Answer = Mapping[str, bytes]


def _answer(name: str, document: Any, text: str | None = None, status: int | None = None) -> Answer:
    encoded = msgspec.json.encode(document)
    answer = {"result.json": msgspec.json.format(encoded, indent=2), "version": _ABOUT[name][0].encode()}
    if text is not None:
        answer["result.txt"] = text.encode()
    if status is not None:
        answer["result.statuscode"] = str(status).encode()
    return answer


def check_known(name: str) -> None:
    if name not in _ABOUT:
        raise UnknownQuestionError(
            f"unsupported request {name!r}", hint=f"known are {', '.join(sorted(_ABOUT))}", name=name
        )


def describe() -> Answer:
    """Needs no Dockerfile."""
    requests = []
    for name, (version, description) in _ABOUT.items():
        options = [{"name": "target", "description": "Target build stage"}] if name == OUTLINE else []
        results = _RESULTS.get(name, ("result.json", "result.txt"))
        requests.append(
            {
                "name": name,
                "version": version,
                "type": "rpc",
                "description": description,
                "opts": options,
                "inputs": [],
                "metadata": [{"name": result, "description": ""} for result in results],
                "refs": [],
            }
        )
    rows = [(name.removeprefix("frontend."), *about) for name, about in _ABOUT.items()]
    return _answer(DESCRIBE, requests, outline.table([("NAME", "VERSION", "DESCRIPTION"), *rows], gap=1))


def list_targets(dockerfile: Dockerfile, data: bytes) -> Answer:
    document = targets.targets(dockerfile, data)
    return _answer(TARGETS, document, targets.as_text(document))


async def make_outline(source: Source, data: bytes) -> Answer:
    converted = await convert(source, _platform(source))
    target = converted.stages[0].stage
    records = [stage.outline for stage in converted.stages]
    document = outline.outline(target.stage_name, target.comment, data, records)
    return _answer(OUTLINE, document, outline.as_text(document))


async def convert_graph(source: Source) -> Answer:
    converted = await convert(source, _platform(source))
    graph = Graph(converted.result.edge, {source.dockerfile.filename: source.dockerfile.source})
    return _answer(CONVERT, codec.as_json(graph))


async def check(source: Source, data: bytes) -> Answer:
    """All stages, unless a target is asked for. What would fail the build is part of the answer, base images that can't
    be had among it."""
    errors: list[BoatyardError] = []
    try:
        await convert(source, _platform(source), all_stages=not source.options.target, missing=errors)
    except BoatyardError as error:
        errors.insert(0, error)
    return checked(source.dockerfile.filename, data, source.report, errors[0] if errors else None)


def checked(filename: str, data: bytes, report: LintReport | None, error: BoatyardError | None) -> Answer:
    result = checks.check_result(filename, data, report.findings if report else (), error)
    return _answer(LINT, result, checks.as_text(result), result.status)


def _platform(source: Source) -> Any:
    return source.options.platforms[0] if source.options.platforms else None

"""Definitions as `--print` and `--list` show them: the same keys in the same order as `docker buildx bake`.

What has `${` or `%{` in it is escaped: the document is a bake file again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from boatyard.bake.definition import Definition, Group, Target, Variable
from boatyard.bake.resolution import Resolved

_ESCAPED = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"})
_NUMBERS = ("cpu-shares", "cpu-period", "cpu-quota")


def written(document: object) -> str:
    """JSON as Go writes it, with a line end."""
    return json.dumps(document, indent=2, ensure_ascii=False).translate(_ESCAPED) + "\n"


def resolved(found: Resolved) -> dict[str, object]:
    groups = {name: _group(group) for name, group in sorted(found.groups.items())}
    targets = {name: target_document(target) for name, target in sorted(found.targets.items())}
    return {**({"group": groups} if groups else {}), "target": targets}


def _group(group: Group) -> dict[str, object]:
    described = {"description": group.description} if group.description else {}
    # null is how Go writes a list that nobody has made: that of a compose file without anything to build.
    none: list[str] | None = None if group.span is None else []
    return {**described, "targets": list(group.targets) or none}


def target_document(target: Target) -> dict[str, object]:
    """Without what isn't said. Keys are in the order in which buildx has them."""
    shown: dict[str, object] = {
        "description": target.description or None,
        "annotations": [_escaped(each) for each in target.annotations or ()],
        "attest": [each.document() for each in target.attest or ()],
        "context": target.context,
        "contexts": dict(sorted((target.contexts or {}).items())),
        "dockerfile": target.dockerfile,
        "dockerfile-inline": None if target.dockerfile_inline is None else _escaped(target.dockerfile_inline),
        "args": _map(target.args),
        "labels": _map(target.labels),
        "tags": list(target.tags or ()),
        "cache-from": [each.document() for each in target.cache_from or ()],
        "cache-to": [each.document() for each in target.cache_to or ()],
        "target": target.target,
        "secret": [each.document() for each in target.secret or ()],
        "ssh": [each.document() for each in target.ssh or ()],
        "platforms": list(target.platforms or ()),
        "output": [each.document() for each in target.output or ()],
        "pull": target.pull,
        "no-cache": target.no_cache,
        "network": target.network,
        "no-cache-filter": list(target.no_cache_filter or ()),
        "shm-size": target.shm_size,
        "ulimits": list(target.ulimits or ()),
        "resources": _resources(target.resources),
        "call": target.call,
        "entitlements": list(target.entitlements or ()),
        "extra-hosts": _map(target.extra_hosts),
        "policy": [each.document() for each in target.policy or ()],
    }
    return {key: value for key, value in shown.items() if value is not None and value != [] and value != {}}


def _escaped(text: str) -> str:
    return text.replace("${", "$${").replace("%{", "%%{")


def _map(given: Mapping[str, str | None] | None) -> dict[str, str | None]:
    return {key: None if value is None else _escaped(value) for key, value in sorted((given or {}).items())}


def _resources(given: Mapping[str, str] | None) -> dict[str, object]:
    known = ("memory", "memory-swap", "cpu-shares", "cpu-period", "cpu-quota", "cpuset-cpus", "cpuset-mems")
    found = given or {}
    return {key: int(found[key]) if key in _NUMBERS else found[key] for key in known if key in found}


def targets(definition: Definition) -> list[dict[str, object]]:
    """For `--list=targets`; names that begin with _ are private."""
    rows: list[dict[str, object]] = []
    for name in sorted({*definition.targets, *definition.groups}):
        if name.startswith("_"):
            continue
        if name in definition.targets:
            rows.append({"name": name, "description": definition.targets[name].description})
        if name in definition.groups:
            group = definition.groups[name]
            members = ", ".join(sorted(group.targets))
            text = f"{group.description} ({members})" if group.description and members else members or group.description
            rows.append({"name": name, "description": text, "group": True})
    return [{key: value for key, value in row.items() if value != ""} for row in rows]


def variables(found: Sequence[Variable]) -> list[dict[str, object]]:
    """For `--list=variables`."""
    rows = []
    for each in found:
        row: dict[str, object] = {"name": each.name}
        row.update({key: text for key, text in (("description", each.description), ("type", each.type)) if text})
        if each.value is not None:
            row["value"] = each.value
        rows.append(row)
    return rows

"""Source policies, as the JSON files that BuildKit's clients read (`--source-policy-file`)."""

from __future__ import annotations

from typing import Literal

import msgspec


class PolicyConstraint(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, forbid_unknown_fields=True):
    """On an attribute of a source."""

    key: str = ""
    value: str = ""
    condition: Literal["EQUAL", "NOTEQUAL", "MATCHES"] = "EQUAL"


class PolicySelector(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, forbid_unknown_fields=True):
    identifier: str = ""
    match_type: Literal["WILDCARD", "EXACT", "REGEX"] = "WILDCARD"
    constraints: tuple[PolicyConstraint, ...] = ()


class PolicyUpdate(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, forbid_unknown_fields=True):
    identifier: str = ""
    attrs: dict[str, str] = {}


class PolicyRule(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, forbid_unknown_fields=True):
    action: Literal["ALLOW", "DENY", "CONVERT"] = "ALLOW"
    selector: PolicySelector
    updates: PolicyUpdate | None = None


class SourcePolicy(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, forbid_unknown_fields=True):
    """`name` is what errors call it; in files there is none."""

    version: int = 1
    rules: tuple[PolicyRule, ...] = ()
    name: str = ""

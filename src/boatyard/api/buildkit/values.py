"""Small values between messages and the builder's own words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from boatyard._pb import ops_pb2, sourcepolicy_pb2
from boatyard._pb.wellknown import Timestamp
from boatyard.build.llb.graph import HostIP, SecretEnv, SourceOp
from boatyard.build.policy.rule import Action, Condition, Constraint, MatchType, Policy, Rule, Selector, Update
from boatyard.build.request import Export
from boatyard.errors import InvalidError
from boatyard.image import platform as platforms
from boatyard.image.platform import Platform

NANO = 1_000_000_000
_SAME = {"moby": "image"}
"""Exporters that are one of ours under another name: dockerd's image store is ours."""


def timestamp(seconds: float | None) -> Timestamp | None:
    return None if seconds is None else moment(seconds)


def moment(seconds: float) -> Timestamp:
    # Whole microseconds: a float has no more of a moment of today.
    micro = round(seconds * 1_000_000)
    return Timestamp(seconds=micro // 1_000_000, nanos=micro % 1_000_000 * 1000)


def platform(message: ops_pb2.Platform) -> Platform:
    """Normalised: clients name one platform in several ways."""
    return platforms.normalise(
        message.OS, message.Architecture, message.Variant, message.OSVersion, tuple(message.OSFeatures)
    )


def platform_message(value: Platform) -> ops_pb2.Platform:
    return ops_pb2.Platform(
        Architecture=value.architecture,
        OS=value.os,
        Variant=value.variant,
        OSVersion=value.os_version,
        OSFeatures=value.os_features,
    )


def source(message: ops_pb2.SourceOp) -> SourceOp:
    if "://" not in message.identifier:
        raise InvalidError(f"{message.identifier[:200]!r} is no identifier of a source")
    return SourceOp(message.identifier, dict(message.attrs))


def source_message(value: SourceOp) -> ops_pb2.SourceOp:
    return ops_pb2.SourceOp(identifier=value.identifier, attrs=value.attrs)


def hosts(messages: Iterable[ops_pb2.HostIP]) -> tuple[HostIP, ...]:
    return tuple(HostIP(item.Host, item.IP) for item in messages)


def secret_env(messages: Iterable[ops_pb2.SecretEnv]) -> tuple[SecretEnv, ...]:
    return tuple(SecretEnv(item.ID, item.name, item.optional) for item in messages)


def policies(messages: Iterable[sourcepolicy_pb2.Policy], name: str) -> tuple[Policy, ...]:
    """`name` tells people whose they are."""
    return tuple(Policy(tuple(map(_rule, message.rules)), name) for message in messages if message.rules)


def _rule(message: sourcepolicy_pb2.Rule) -> Rule:
    selector = message.selector
    try:
        return Rule(
            Action(message.action),
            Selector(
                selector.identifier,
                MatchType(selector.match_type),
                tuple(Constraint(item.key, item.value, Condition(item.condition)) for item in selector.constraints),
            ),
            Update(message.updates.identifier, dict(message.updates.attrs)) if message.HasField("updates") else None,
        )
    except ValueError as error:
        raise InvalidError(f"a rule of a source policy can't be read: {error}") from error


def export(type: str, attrs: Mapping[str, str]) -> Export:
    return Export(_SAME.get(type, type), dict(attrs))


def without(attrs: Mapping[str, str], *names: str) -> dict[str, str]:
    return {name: value for name, value in attrs.items() if name not in names}

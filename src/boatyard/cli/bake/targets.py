"""A target of a definition as a build: the flags that `boat build` would be given for it, and its plan."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from boatyard.bake import places
from boatyard.bake.definition import LINK, Target
from boatyard.bake.resolution import Resolved
from boatyard.cli.bake.flags import BakeFlags
from boatyard.cli.build.flags import Flags
from boatyard.cli.build.plan import Plan, plan, to_stream
from boatyard.errors import BoatyardError, InvalidError, UnsupportedError


@dataclass(frozen=True, slots=True)
class Planned:
    """One build. `linked`: all that it is linked to, by name, those of the linked ones included."""

    target: Target
    flags: Flags
    plan: Plan
    linked: Mapping[str, Plan]


def plans(resolved: Resolved, bake: BakeFlags, environment: Mapping[str, str]) -> list[Planned]:
    """What is asked for, in order. Errors name the target."""
    _refuse_unsupported(bake)
    found = []
    for name in resolved.asked:
        target = resolved.targets[name]
        flags = build_flags(target, bake)
        linked = {
            each: _plan(resolved.targets[each], build_flags(resolved.targets[each], bake, linked=True), environment)
            for each in dict.fromkeys(_linked(resolved, name))
        }
        found.append(Planned(target, flags, _plan(target, flags, environment), linked))
    streams = [each.target.name for each in found if any(map(to_stream, each.plan.outputs))]
    if len(streams) > 1:
        raise InvalidError(f"the outputs of {' and '.join(streams)} go to standard output", hint="give them dest=FILE")
    return found


def _linked(resolved: Resolved, name: str) -> Iterator[str]:
    for context in (resolved.targets[name].contexts or {}).values():
        if context.startswith(LINK):
            yield context.removeprefix(LINK)
            yield from _linked(resolved, context.removeprefix(LINK))


def _plan(target: Target, flags: Flags, environment: Mapping[str, str]) -> Plan:
    try:
        found = plan(flags, environment)
    except BoatyardError as error:
        raise named(error, target.name) from None
    links = {
        f"context:{name.lower()}": f"input:{context.removeprefix(LINK)}"
        for name, context in (target.contexts or {}).items()
        if context.startswith(LINK)
    }
    return _with_attrs(found, links) if links else found


def _with_attrs(found: Plan, more: Mapping[str, str]) -> Plan:
    import msgspec

    return msgspec.structs.replace(found, attrs={**found.attrs, **more})


def named(error: BoatyardError, name: str) -> BoatyardError:
    """The same error, with the target's name before what it says."""
    error.message = f"target {name}: {error.message}"
    error.args = (error.message,)
    return error


def build_flags(target: Target, bake: BakeFlags, *, linked: bool = False) -> Flags:
    """Of a target that others are `linked` to, only the result is wanted: what it is called and where it goes is
    not."""
    if target.policy:
        raise UnsupportedError(f"target {target.name}: policy is not supported yet", hint="leave the attribute out")
    call = _call(target, bake)
    asked = call.partition(",")[0] not in ("", "build")  # a question needs no cache
    return Flags(
        context=target.context or ".",
        file=None if target.dockerfile_inline is not None else places.dockerfile(target),
        dockerfile=target.dockerfile_inline,
        tag=() if linked else target.tags or (),
        target=target.target or "",
        build_arg=_pairs(target.args),
        label=_pairs(target.labels),
        annotation=() if linked else target.annotations or (),
        secret=tuple(each.text() for each in target.secret or ()),
        ssh=tuple(each.text() for each in target.ssh or ()),
        platform=target.platforms or (),
        cache_from=() if linked or asked else tuple(each.text() for each in target.cache_from or ()),
        cache_to=() if linked or asked else tuple(each.text() for each in target.cache_to or ()),
        output=("type=cacheonly",) if linked else tuple(each.text() for each in target.output or ()),
        no_cache=bool(target.no_cache),
        no_cache_filter=target.no_cache_filter or (),
        pull=bool(target.pull),
        add_host=_pairs(target.extra_hosts),
        shm_size=target.shm_size or "",
        ulimit=target.ulimits or (),
        resources=target.resources or {},
        network=target.network or "",
        allow=target.entitlements or (),
        build_context=tuple(
            f"{name}={value}" for name, value in (target.contexts or {}).items() if not value.startswith(LINK)
        ),
        attest=() if linked else tuple(each.text() for each in target.attest or ()),
        call="" if linked else call,
        explain=bake.explain,
        trust_host_ca=bake.trust_host_ca,
    )


def _call(target: Target, bake: BakeFlags) -> str:
    """The target's own, in the format of --call; --call itself was made an override before."""
    name = target.call or ""
    _, comma, options = bake.call.partition(",")
    return f"{name},{options}" if name and comma else name


def _pairs(given: Mapping[str, str | None] | None) -> tuple[str, ...]:
    """A null leaves it to the Dockerfile."""
    return tuple(f"{key}={value}" for key, value in (given or {}).items() if value is not None)


def _refuse_unsupported(bake: BakeFlags) -> None:
    for flag, value in (("--provenance", bake.provenance), ("--sbom", bake.sbom)):
        if value and value.lower() not in ("false", "0"):
            hint = "leave it out, or say --provenance=false --sbom=false"
            raise UnsupportedError(f"{flag}: attestations are not supported yet", hint=hint)

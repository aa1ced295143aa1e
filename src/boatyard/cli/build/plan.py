"""From flags to a plan: which attributes the frontend gets, what must be opened on this side. Opens nothing.

Attributes are BuildKit's, so that the frontend sees the same request whoever asks.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from boatyard.cli import attributes, suggest, units
from boatyard.cli.attributes import Agent, Cache, Output, Secret
from boatyard.cli.build.flags import Flags
from boatyard.cli.build.place import Place, is_remote, locate
from boatyard.client.documents.policies import SourcePolicy
from boatyard.errors import InvalidError, UnsupportedError

CALLS: Mapping[str, str] = {
    "check": "frontend.lint",
    "lint": "frontend.lint",
    "outline": "frontend.outline",
    "targets": "frontend.targets",
    "describe": "frontend.subrequests.describe",
}
"""Names of questions -> what frontends call them. One with a dot in it is a frontend's own."""
_RESOURCES: Mapping[str, str] = {
    "memory": "memory",
    "memory-swap": "memswap",
    "cpu-shares": "cpushares",
    "cpu-period": "cpuperiod",
    "cpu-quota": "cpuquota",
    "cpuset-cpus": "cpusetcpus",
    "cpuset-mems": "cpusetmems",
}
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY")
_ANNOTATED = ("manifest", "index", "manifest-descriptor", "index-descriptor")
_ATTESTATION_HINT = "leave it out, or say --provenance=false --sbom=false"


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    place: Place
    attrs: Mapping[str, str]
    contexts: Mapping[str, str] = {}
    """Named contexts that are directories: local name -> path."""
    secrets: tuple[Secret, ...] = ()
    agents: tuple[Agent, ...] = ()
    outputs: tuple[Output, ...] = ()
    cache_from: tuple[Cache, ...] = ()
    cache_to: tuple[Cache, ...] = ()
    entitlements: tuple[str, ...] = ()
    source_policies: tuple[SourcePolicy, ...] = ()
    proxy: Mapping[str, str] | None = None
    call: str = ""
    call_format: str = ""


def plan(flags: Flags, environment: Mapping[str, str]) -> Plan:
    """Raises InvalidError, NotFoundError or UnsupportedError: everything that can be told before the daemon is
    asked."""
    _refuse_unsupported(flags)
    place = locate(flags.context, flags.file, flags.dockerfile)
    call, call_format = _call(flags)
    contexts, context_attrs = _named_contexts(flags)
    attrs = {
        **place.attrs,
        **_frontend_attrs(flags, environment),
        **context_attrs,
        **({"requestid": CALLS.get(call, call), "frontend.caps": "moby.buildkit.frontend.subrequests"} if call else {}),
    }
    outputs = () if call else _outputs(flags)
    _one_writer(outputs, quiet=flags.quiet)
    return Plan(
        place=place,
        attrs=attrs,
        contexts=contexts,
        secrets=_unique(tuple(attributes.secret(text, environment) for text in flags.secret)),
        agents=tuple(attributes.agent(text) for text in flags.ssh),
        outputs=outputs,
        cache_from=tuple(_cache(text, "--cache-from") for text in flags.cache_from),
        cache_to=tuple(_cache(text, "--cache-to") for text in flags.cache_to),
        entitlements=_entitlements(flags),
        source_policies=_source_policies(flags, environment),
        proxy=proxies(environment),
        call=call,
        call_format=call_format,
    )


def proxies(environment: Mapping[str, str]) -> dict[str, str] | None:
    """The proxy settings of this environment, upper-case names; None when there are none."""
    found = {name: environment.get(name) or environment.get(name.lower()) or "" for name in _PROXIES}
    return {name: value for name, value in found.items() if value} or None


def _frontend_attrs(flags: Flags, environment: Mapping[str, str]) -> dict[str, str]:
    attrs: dict[str, str] = {}
    if flags.target:
        attrs["target"] = flags.target
    if flags.platform:
        attrs["platform"] = ",".join(flags.platform)
    for name, value in _build_args(flags, environment).items():
        attrs[f"build-arg:{name}"] = value
    for text in flags.label:
        name, _, value = text.partition("=")
        if not name:
            raise InvalidError(f"--label {text!r} is malformed", hint="write it as --label NAME=VALUE")
        attrs[f"label:{name}"] = value
    if flags.no_cache:
        attrs["no-cache"] = ""
    elif flags.no_cache_filter:
        attrs["no-cache"] = ",".join(flags.no_cache_filter)
    if flags.pull:
        attrs["image-resolve-mode"] = "pull"
    if flags.add_host:
        attrs["add-hosts"] = ",".join(attributes.host(text) for text in flags.add_host)
    if flags.shm_size:
        attrs["shm-size"] = str(units.parse_size(flags.shm_size))
    for name, text in flags.resources.items():
        attrs[_RESOURCES[name]] = str(units.parse_size(text)) if name.startswith("memory") and text != "-1" else text
    if flags.ulimit:
        attrs["ulimit"] = ",".join(attributes.ulimit(text) for text in flags.ulimit)
    if flags.network and flags.network != "default":
        attrs["force-network-mode"] = flags.network
    if flags.cgroup_parent:
        attrs["cgroup-parent"] = flags.cgroup_parent
    return attrs


def _build_args(flags: Flags, environment: Mapping[str, str]) -> dict[str, str]:
    """A name without a value takes the environment's, and is left out where that has none. SOURCE_DATE_EPOCH is
    always taken along."""
    given: dict[str, str] = {}
    if epoch := flags.source_date_epoch or environment.get("SOURCE_DATE_EPOCH"):
        given["SOURCE_DATE_EPOCH"] = epoch
    for text in flags.build_arg:
        name, equals, value = text.partition("=")
        if not name:
            raise InvalidError(f"--build-arg {text!r} is malformed", hint="write it as --build-arg NAME=VALUE")
        if equals:
            given[name] = value
        elif name in environment:
            given[name] = environment[name]
    return given


def _named_contexts(flags: Flags) -> tuple[dict[str, str], dict[str, str]]:
    """Directories to open, and the attributes that name every context."""
    from boatyard.cli.build import layout

    directories: dict[str, str] = {}
    attrs: dict[str, str] = {}
    for text in flags.build_context:
        name, value = attributes.named(text, "--build-context")
        name = name.lower()
        if name in ("context", "dockerfile"):
            raise InvalidError(f"--build-context {text!r}: the name {name!r} is taken", hint="choose another name")
        if value.startswith("oci-layout://"):
            store = f"oci{len(directories)}"
            path, tag, digest = layout.split(value.removeprefix("oci-layout://"))
            directories[store] = path
            attrs[f"context:{name}"] = f"oci-layout://{store}@{digest or layout.resolve(path, tag)}"
        elif is_remote(value) or value.startswith("docker-image://"):
            attrs[f"context:{name}"] = value
        else:
            directories[name] = value
            attrs[f"context:{name}"] = f"local:{name}"
    return directories, attrs


def _call(flags: Flags) -> tuple[str, str]:
    text = "check" if flags.check else flags.call
    name, *options = text.split(",")
    if not text or name == "build":
        return "", ""
    if name not in CALLS and "." not in name:
        raise InvalidError(
            f"--call: there is no {name!r}", hint=suggest.hint(name, CALLS, otherwise=f"there are: {', '.join(CALLS)}")
        )
    given = attributes.pairs(",".join(options), "--call", ("format",)) if options else {}
    form = given.get("format", "text")
    if form not in ("text", "json"):
        raise InvalidError(f"--call: there is no format {form!r}", hint="it is format=text or format=json")
    return name, form


def _outputs(flags: Flags) -> tuple[Output, ...]:
    """What `-o`, `--load` and `-t` ask for. Without `-o` the image is stored, with a name or without."""
    names = ",".join(flags.tag)
    annotations = dict(_annotation(text) for text in flags.annotation)
    parsed = [attributes.output(text) for text in flags.output]
    if not parsed or flags.load:
        parsed.append(Output("image"))
    found: list[Output] = []
    for output in parsed:
        if output.type == "cacheonly":
            continue
        kind = "image" if output.type == "docker" and not output.dest and "name" not in output.attrs else output.type
        attrs = dict(output.attrs)
        if output.type == "registry" or (flags.push and kind == "image"):
            kind = "image"
            attrs.setdefault("push", "true")
        if kind in ("image", "oci", "docker"):
            if names:
                attrs.setdefault("name", names)
            attrs = {**annotations, **attrs}
        found.append(Output(kind, output.dest, attrs))
    return tuple(found)


def _annotation(text: str) -> tuple[str, str]:
    """`[TYPE[,TYPE][PLATFORM]:]KEY=VALUE` as the exporter's attribute."""
    name, value = attributes.named(text, "--annotation")
    kind, colon, key = name.partition(":")
    if not colon or kind.split("[")[0].split(",")[0] not in (
        "manifest",
        "index",
        "manifest-descriptor",
        "index-descriptor",
    ):
        return f"annotation.{name}", value
    return f"annotation-{kind}.{key}", value


def _one_writer(outputs: tuple[Output, ...], *, quiet: bool) -> None:
    """Standard output takes one thing."""
    streams = [output for output in outputs if to_stream(output)]
    if len(streams) > 1:
        raise InvalidError("two outputs go to standard output", hint="give one of them dest=FILE")
    if streams and quiet:
        raise InvalidError(
            "both the image's ID (--quiet) and an output go to standard output", hint="give the output dest=FILE"
        )


def to_stream(output: Output) -> bool:
    """Whether an output is written to standard output. (`type=docker` without a file was made an image before.)"""
    return output.type in ("tar", "oci", "docker") and output.dest in ("", "-")


def _cache(text: str, flag: str) -> Cache:
    found = attributes.cache(text, flag)
    if found.type == "registry":
        if not found.attrs.get("ref"):
            raise InvalidError(f"{flag} type=registry needs ref=", hint="write it as type=registry,ref=NAME:TAG")
        return found
    if found.type not in ("local", "inline"):
        raise UnsupportedError(f"{flag}: type={found.type} is not supported", hint=f"use {flag} type=registry")
    key = "src" if flag == "--cache-from" else "dest"
    if found.type == "local" and not found.attrs.get(key):
        raise InvalidError(f"{flag} type=local needs {key}=", hint=f"write it as type=local,{key}=DIRECTORY")
    return found


def _entitlements(flags: Flags) -> tuple[str, ...]:
    known = ("network.host", "security.insecure", "device", "frontend.python")
    for text in flags.allow:
        name, equals, _ = text.partition("=")
        if name not in known or (equals and name != "device"):
            raise InvalidError(
                f"--allow: there is no entitlement {text!r}",
                hint=suggest.hint(text, known, otherwise=f"there are: {', '.join(known)}"),
            )
    # Asking for the host's network by its own flag is as explicit as allowing it.
    own = ("network.host",) if flags.network == "host" else ()
    return tuple(dict.fromkeys((*flags.allow, *own)))


def _source_policies(flags: Flags, environment: Mapping[str, str]) -> tuple[SourcePolicy, ...]:
    """Those that flags name, or else the one the environment names."""
    from_environment = environment.get("EXPERIMENTAL_BUILDKIT_SOURCE_POLICY", "")
    paths = flags.source_policy_file or ((from_environment,) if from_environment else ())
    if not paths:
        return ()
    from boatyard.client import policyfile

    return tuple(map(policyfile.read, paths))


def _refuse_unsupported(flags: Flags) -> None:
    for flag, value in (("--provenance", flags.provenance), ("--sbom", flags.sbom)):
        if value and value.lower() not in ("false", "0"):
            raise UnsupportedError(f"{flag}: attestations are not supported yet", hint=_ATTESTATION_HINT)
    for text in flags.attest:
        given = attributes.pairs(text, "--attest", bare="true")
        if not attributes.boolean(given.get("disabled", "false"), "--attest", "disabled"):
            raise UnsupportedError("--attest: attestations are not supported yet", hint=_ATTESTATION_HINT)


def _unique(secrets: tuple[Secret, ...]) -> tuple[Secret, ...]:
    seen: set[str] = set()
    for secret in secrets:
        if secret.id in seen:
            raise InvalidError(f"--secret: the id {secret.id!r} is given twice")
        seen.add(secret.id)
    return secrets

"""Services as targets.

Specification: docker/buildx, bake/compose.go; docker/docs, bake/compose-file (x-bake).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from boatyard.bake.compose.model import Model, Service
from boatyard.bake.definition import DEFAULT, LINK, NAME, Definition, Group, Target
from boatyard.bake.entries import Agent, Attestation, Cache, E, EntryError, Output, Secret, unique
from boatyard.bake.resolution import sanitized
from boatyard.bake.source import did_you_mean
from boatyard.errors import DefinitionError

_BUILD = (
    "additional_contexts", "args", "cache_from", "cache_to", "context", "dockerfile", "dockerfile_inline",
    "entitlements", "extra_hosts", "isolation", "labels", "network", "no_cache", "no_cache_filter", "platforms",
    "privileged", "provenance", "pull", "sbom", "secrets", "shm_size", "ssh", "tags", "target", "ulimits",
)  # fmt: skip
_X_BAKE = (
    "tags", "cache-from", "cache-to", "secret", "ssh", "platforms", "output", "pull", "no-cache", "no-cache-filter",
    "contexts",
)  # fmt: skip
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
_SIZES = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}


def definition(model: Model, environment: Mapping[str, str]) -> Definition:
    """A target for each service that is built, and a default group of them all."""
    targets: dict[str, Target] = {}
    for name in sorted(model.services):
        service = model.services[name]
        if service.fields.get("build") is not None:
            target = _Reader(service, model, environment).target()
            targets[target.name] = target
    groups = {DEFAULT: Group(name=DEFAULT, targets=tuple(targets))} if model.services else {}
    return Definition(targets=targets, groups=groups)


class _Reader:
    """One per service."""

    def __init__(self, service: Service, model: Model, environment: Mapping[str, str]) -> None:
        self._service = service
        self._build: dict[str, Any] = service.fields["build"]
        self._model = model
        self._environment = environment

    def target(self) -> Target:
        service, build = self._service, self._build
        name = sanitized(service.name)
        if not NAME.fullmatch(name):
            raise service.error(
                (), f"the service {service.name!r} can't be a target: names have letters, digits, - and _"
            )
        self._check_keys(build, _BUILD, ("build",), "build")
        if self._text("dockerfile") and self._text("dockerfile_inline"):
            raise self._error(
                ("build", "dockerfile_inline"), "a build has a dockerfile or a dockerfile_inline, not both"
            )
        tags = self._texts("tags")
        image = service.fields.get("image")
        target = Target(
            name=name,
            span=service.span,
            context=self._home(self._text("context")),
            contexts=self._contexts("additional_contexts"),
            dockerfile=self._text("dockerfile"),
            dockerfile_inline=self._text("dockerfile_inline"),
            args=self._arguments(),
            labels={key: _written(value) for key, value in self._map("labels").items()} or None,
            tags=tags or ((str(image),) if image else None),
            cache_from=self._entries(Cache, self._texts("cache_from"), ("build", "cache_from")),
            cache_to=self._entries(Cache, self._texts("cache_to"), ("build", "cache_to")),
            target=self._text("target"),
            secret=self._secrets(),
            ssh=self._agents(),
            platforms=self._texts("platforms") or None,
            pull=self._truth("pull") or None,
            no_cache=self._truth("no_cache") or None,
            no_cache_filter=self._texts("no_cache_filter") or None,
            network=self._text("network"),
            shm_size=self._shm_size(),
            ulimits=self._ulimits(),
            entitlements=self._texts("entitlements") or None,
            extra_hosts={
                key: ",".join(re.sub(r"^\[(.*)\]$", r"\1", each) for each in _written(value).split(","))
                for key, value in self._map("extra_hosts").items()
            }
            or None,
            attest=self._attestations(),
        )
        return self._with_extension(target)

    # Plain fields

    def _error(self, path: tuple[Any, ...], message: str, *, hint: str | None = None) -> DefinitionError:
        return self._service.error(path, message, hint=hint)

    def _check_keys(self, given: Mapping[str, Any], known: Iterable[str], path: tuple[str, ...], what: str) -> None:
        for key in given:
            if key not in known and not str(key).startswith("x-"):
                hint = did_you_mean(key, known)
                if known is _X_BAKE and key.replace("-", "_") in _BUILD:
                    hint = f"it is one of build's own: build: {{{key.replace('-', '_')}: ...}}"
                raise self._error((*path, key), f"{what} has no key {key!r}", hint=hint)

    def _text(self, key: str) -> str | None:
        value = self._build.get(key)
        if value is None or value == "":
            return None
        if isinstance(value, dict | list):
            raise self._error(("build", key), f"{key} is a text")
        return _written(value)

    def _truth(self, key: str) -> bool:
        return self._as_truth(self._build.get(key), ("build", key))

    def _as_truth(self, value: Any, path: tuple[Any, ...]) -> bool:
        """A text, too: that is what an interpolated one is."""
        if isinstance(value, str):
            value = {"true": True, "false": False, "": False, "1": True, "0": False}.get(value.lower(), value)
        if value is None or isinstance(value, bool):
            return bool(value)
        raise self._error(path, f"{path[-1]} is true or false")

    def _texts(self, key: str) -> tuple[str, ...]:
        value = self._build.get(key)
        if value is None:
            return ()
        if not isinstance(value, list) or any(isinstance(each, dict | list) for each in value):
            raise self._error(("build", key), f"{key} is a list of texts")
        return tuple(map(_written, value))

    def _map(self, key: str) -> dict[str, Any]:
        value = self._build.get(key)
        if value is None:
            return {}
        if not isinstance(value, dict):
            raise self._error(("build", key), f"{key} is a mapping or a list")
        for name, each in value.items():
            if isinstance(each, list | dict) and key not in ("extra_hosts", "ulimits"):
                raise self._error(("build", key, name), f"{name} is no text")
        return {name: ",".join(map(_written, each)) if isinstance(each, list) else each for name, each in value.items()}

    def _contexts(self, key: str) -> dict[str, str] | None:
        given = self._map(key).items()
        return {name: self._home(linked(_written(value))) or "" for name, value in given} or None

    def _home(self, path: str | None) -> str | None:
        """With the home directory in the place of a tilde."""
        home = self._environment.get("HOME")
        if path is None or not home or not (path == "~" or path.startswith("~/")):
            return path
        return os.path.normpath(home + path[1:])

    def _arguments(self) -> dict[str, str | None] | None:
        """Without a value, an argument is the service's variable of that name, else the environment's, else absent."""
        own = self._service.fields.get("environment") or {}
        found: dict[str, str | None] = {}
        for name, value in self._map("args").items():
            if value is None:
                value = own.get(name) if own.get(name) is not None else self._environment.get(name)
            if value is not None:
                found[name] = _written(value)
        return found or None

    def _shm_size(self) -> str | None:
        value = self._build.get("shm_size")
        if value in (None, "", 0):
            return None
        text = str(value).lower().removesuffix("ib").removesuffix("b")
        number, unit = (text[:-1], text[-1:]) if text[-1:].isalpha() else (text, "")
        try:
            size = float(number) * _SIZES[unit]
        except (KeyError, ValueError):
            raise self._error(("build", "shm_size"), f"{value!r} is no size", hint="write it as 128m or 1g") from None
        step = 0
        while size >= 1024 and step < len(_UNITS) - 1:
            size, step = size / 1024, step + 1
        return f"{size:.4g}{_UNITS[step]}"

    def _ulimits(self) -> tuple[str, ...] | None:
        found = []
        for name, value in sorted(self._map("ulimits").items()):
            limits = value if isinstance(value, dict) else {"soft": value, "hard": value}
            try:
                soft = int(limits["soft"])
                found.append(f"{name}={soft}:{int(limits.get('hard', soft))}")
            except (KeyError, TypeError, ValueError):
                hint = "write nofile: 1024, or nofile: {soft: 1024, hard: 2048}"
                raise self._error(("build", "ulimits", name), f"the ulimit {name} is malformed", hint=hint) from None
        return tuple(found) or None

    # Entries

    def _entries(self, kind: type[E], texts: Iterable[str], path: tuple[Any, ...]) -> tuple[E, ...] | None:
        found: list[E] = []
        for text in texts:
            try:
                found.extend(kind.parse(text) if text else ())
            except EntryError as error:
                raise self._error(path, str(error), hint=error.hint) from None
        return tuple(found) or None

    def _secrets(self) -> tuple[Secret, ...] | None:
        value = self._build.get("secrets")
        if value is None:
            return None
        if not isinstance(value, list):
            raise self._error(("build", "secrets"), "secrets is a list")
        found = []
        for index, each in enumerate(value):
            name = each.get("source") if isinstance(each, dict) else each
            path = ("build", "secrets", index)
            if not isinstance(name, str):
                raise self._error(path, "a secret is named by its source")
            declared = self._model.secrets.get(name)
            if declared is None:
                hint = did_you_mean(
                    name, self._model.secrets, otherwise=f"declare it: secrets: {{{name}: {{file: ...}}}}"
                )
                raise self._error(path, f"there is no secret {name!r}", hint=hint)
            if declared.get("external"):
                raise self._error(path, f"the secret {name!r} is external: a build can't have it")
            found.append(Secret(name, str(declared.get("file") or ""), str(declared.get("environment") or "")))
        return tuple(found) or None

    def _agents(self) -> tuple[Agent, ...] | None:
        found = []
        for id, path in self._map("ssh").items():
            found.append(Agent(str(id), (_written(path),) if path else ()))
        return tuple(sorted(found, key=lambda each: (each.id, each.paths))) or None

    def _attestations(self) -> tuple[Attestation, ...] | None:
        found: list[str] = []
        for key in ("sbom", "provenance"):
            value = self._build.get(key)
            if value is None or value == "":
                continue
            text = _written(value)
            truth = {"true": "disabled=false", "false": "disabled=true", "1": "disabled=false", "0": "disabled=true"}
            found.append(f"type={key},{truth.get(text.lower(), text)}")
        return self._entries(Attestation, found, ("build",))

    # x-bake

    def _with_extension(self, target: Target) -> Target:
        given = self._build.get("x-bake")
        if given is None:
            return target
        path = ("build", "x-bake")
        if not isinstance(given, dict):
            raise self._error(path, "x-bake is a mapping")
        self._check_keys(given, _X_BAKE, path, "x-bake")

        def texts(key: str) -> tuple[str, ...]:
            value = given.get(key)
            if isinstance(value, str):
                return tuple(value.split())
            if value is not None and (
                not isinstance(value, list) or any(isinstance(each, dict | list) for each in value)
            ):
                raise self._error((*path, key), f"{key} is a text or a list of texts")
            return tuple(map(_written, value or ()))

        def added(kind: type[E], key: str, before: tuple[E, ...] | None) -> tuple[E, ...] | None:
            more = self._entries(kind, texts(key), (*path, key))
            return unique((before or ()) + more) if more else before

        def listed(key: str, before: tuple[str, ...] | None) -> tuple[str, ...] | None:
            return tuple(dict.fromkeys((*(before or ()), *texts(key)))) or None

        def truth(key: str, before: bool | None) -> bool | None:
            return before if given.get(key) is None else self._as_truth(given[key], (*path, key))

        contexts = given.get("contexts")
        if contexts is not None and not isinstance(contexts, dict):
            raise self._error((*path, "contexts"), "contexts is a mapping")
        more = {name: linked(_written(value)) for name, value in (contexts or {}).items()}
        return replace(
            target,
            tags=listed("tags", target.tags),
            cache_from=added(Cache, "cache-from", target.cache_from),
            cache_to=added(Cache, "cache-to", target.cache_to),
            secret=added(Secret, "secret", target.secret),
            ssh=added(Agent, "ssh", target.ssh),
            platforms=listed("platforms", target.platforms),
            output=added(Output, "output", target.output),
            pull=truth("pull", target.pull),
            no_cache=truth("no-cache", target.no_cache),
            no_cache_filter=listed("no-cache-filter", target.no_cache_filter),
            contexts={**more, **(target.contexts or {})} or None,
        )


def linked(context: str) -> str:
    """`service:NAME` is the target of that name."""
    for prefix in ("service:", LINK):
        if context.startswith(prefix):
            return LINK + sanitized(context.removeprefix(prefix))
    return context


def _written(value: Any) -> str:
    """A YAML value as the text that stands for it."""
    if value is None:
        return ""
    if isinstance(value, float):  # 1e3 is 1000, as Go writes it
        return f"{value:.0f}" if value.is_integer() and abs(value) < 1e21 else repr(value)
    return ("true" if value else "false") if isinstance(value, bool) else str(value)

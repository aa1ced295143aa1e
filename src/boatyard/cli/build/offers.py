"""Carry out a plan's openings: everything the build may touch on this side is opened here, with this user's rights,
and handed over as descriptors. Undone when the stack is: temporary directories, the agent for key files, outputs that
were not finished."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from contextlib import ExitStack

from boatyard.cli import outfile
from boatyard.cli.attributes import Agent, Cache, Output, Secret
from boatyard.cli.build.flags import Flags
from boatyard.cli.build.place import DEFAULT_NAME, MAX_DOCKERFILE, Stdin
from boatyard.cli.build.plan import Plan, to_stream
from boatyard.cli.console import Console
from boatyard.cli.registry.keys import offered_credentials
from boatyard.client.descriptors import MAX_SECRET
from boatyard.client.documents.builds import BuildRequest, CacheOption, Export, LinkedBuild, Local
from boatyard.client.offering import Offering
from boatyard.errors import BoatyardError, InvalidError, NotFoundError


class Offers:
    """One per build. `stack` holds what must be undone after it."""

    def __init__(self, console: Console, channel: Offering, stack: ExitStack) -> None:
        self.console = console
        self.channel = channel
        self.stack = stack

    @property
    def environment(self) -> Mapping[str, str]:
        return self.console.environment

    def request(
        self,
        plan: Plan,
        flags: Flags,
        ref: str,
        *,
        label: str = "",
        group: str = "",
        linked: Mapping[str, LinkedBuild] | None = None,
    ) -> BuildRequest:
        attrs = dict(plan.attrs)
        uploads: dict[str, str] = {}
        return BuildRequest(
            ref=ref,
            session=self.channel.session,
            label=label,
            group=group,
            linked=dict(linked or {}),
            locals=self._locals(plan, attrs, uploads),
            frontend_attrs=attrs,
            uploads=uploads,
            secrets={secret.id: self._secret(secret) for secret in plan.secrets},
            ssh={agent.id: self._agent(agent) for agent in plan.agents},
            credentials=self.stack.enter_context(offered_credentials(self.channel, self.environment)),
            exports=tuple(self._export(output) for output in plan.outputs),
            cache_from=tuple(self._cache_from(cache) for cache in plan.cache_from),
            cache_to=tuple(self._cache_to(cache) for cache in plan.cache_to),
            entitlements=plan.entitlements,
            source_policies=plan.source_policies,
            proxy=None if plan.proxy is None else dict(plan.proxy),
            trust_host_ca=flags.trust_host_ca,
            explain=flags.explain,
            on_error=flags.on_error,
            terminal=self.channel.offer_terminal() if flags.on_error else "",
            context_report=flags.context_report,
        )

    def linked(self, plan: Plan) -> LinkedBuild:
        """A build whose result another one uses."""
        attrs = dict(plan.attrs)
        uploads: dict[str, str] = {}
        return LinkedBuild(
            locals=self._locals(plan, attrs, uploads),
            frontend_attrs=attrs,
            uploads=uploads,
            secrets={secret.id: self._secret(secret) for secret in plan.secrets},
            ssh={agent.id: self._agent(agent) for agent in plan.agents},
        )

    def _locals(self, plan: Plan, attrs: dict[str, str], uploads: dict[str, str]) -> dict[str, Local]:
        place = plan.place
        context, dockerfile = place.context, place.dockerfile
        if place.text is not None:
            dockerfile = self._written(place.text.encode())
        elif place.dockerfile_source:
            dockerfile = self._written(_read(place.dockerfile_source))
        elif place.stdin is Stdin.DOCKERFILE:
            from boatyard.cli.build import stdin

            dockerfile = self._written(stdin.read_all(self.console))
        elif place.stdin is Stdin.CONTEXT:
            from boatyard.cli.build import stdin

            archive, text = stdin.archive_or_text(self.console, self.stack)
            if archive is not None:
                uploads["context"] = self.channel.offer_upload(archive)
                attrs["context"] = "http://buildkit-session/context"
            else:
                dockerfile = self._written(text)
                context = self._temporary()
                attrs.pop("filename", None)
        found = {name: self._directory(path, f"--build-context {name}") for name, path in plan.contexts.items()}
        if context:
            found["context"] = self._directory(context, "the context")
        if dockerfile:
            found["dockerfile"] = self._directory(dockerfile, "the Dockerfile's directory")
        return found

    def _directory(self, path: str, what: str) -> Local:
        try:
            return self.channel.offer_directory(self._expanded(path))
        except BoatyardError as error:
            raise type(error)(f"{what}: {error.message}", hint=error.hint) from error

    def _temporary(self) -> str:
        from tempfile import TemporaryDirectory

        return self.stack.enter_context(TemporaryDirectory(prefix="boat-"))

    def _written(self, dockerfile: bytes) -> str:
        """A directory with just this Dockerfile."""
        directory = self._temporary()
        with open(os.path.join(directory, DEFAULT_NAME), "wb") as file:
            file.write(dockerfile)
        return directory

    def _secret(self, secret: Secret) -> str:
        if secret.variable:
            value = self.environment.get(secret.variable)
            if value is None:
                raise NotFoundError(
                    f"secret {secret.id!r}: the environment has no variable {secret.variable!r}",
                    hint=f"set it, or give a file: --secret id={secret.id},src=FILE",
                )
            return self.channel.offer_bytes(value.encode("utf-8", "surrogateescape"))
        path = self._expanded(secret.path)
        try:
            status = os.stat(path)
            if stat.S_ISREG(status.st_mode):
                _check_size(secret.id, status.st_size)
                return self.channel.offer_file(path)
            if stat.S_ISDIR(status.st_mode):
                raise InvalidError(f"secret {secret.id!r}: {path} is a directory, not a file")
            data = _read(path)
        except FileNotFoundError as error:
            raise NotFoundError(
                f"secret {secret.id!r}: {path} does not exist",
                hint=f"correct src=, or take a variable: --secret id={secret.id},env=NAME",
            ) from error
        _check_size(secret.id, len(data))
        return self.channel.offer_bytes(data)

    def _agent(self, agent: Agent) -> str:
        paths = [self._expanded(path) for path in agent.paths]
        if not paths:
            socket = self.environment.get("SSH_AUTH_SOCK", "")
            if not socket:
                raise NotFoundError(
                    f"--ssh {agent.id}: no SSH agent is running here (SSH_AUTH_SOCK is not set)",
                    hint=f"start one (eval $(ssh-agent); ssh-add), or give a key: --ssh {agent.id}=KEYFILE",
                )
            return self.channel.offer_agent(socket)
        if len(paths) == 1 and _is_socket(paths[0]):
            return self.channel.offer_agent(paths[0])
        from boatyard.cli.build.keyagent import key_agent

        return self.channel.offer_agent(self.stack.enter_context(key_agent(paths, self.environment)))

    def _export(self, output: Output) -> Export:
        attrs = dict(output.attrs)
        path = self._expanded(output.dest)
        if to_stream(output):
            if self.console.out_terminal:
                raise InvalidError(
                    f"an archive (type={output.type}) is not written to a terminal",
                    hint="give it a file (dest=FILE), or pipe it into a program",
                )
            return Export(type=output.type, attrs=attrs, token=self.channel.offer_output(1))
        if output.type == "image":
            return Export(type=output.type, attrs=attrs)
        if output.type == "local" or attrs.get("tar") in ("false", "0"):
            exact = attrs.get("mode") == "delete"
            return Export(type=output.type, attrs=attrs, token=self.channel.offer_output_directory(path, exact=exact))
        file = self.stack.enter_context(outfile.replacing(path))
        return Export(type=output.type, attrs=attrs, token=self.channel.offer_output(file))

    def _cache_from(self, cache: Cache) -> CacheOption:
        if cache.type != "local":
            return CacheOption(type=cache.type, attrs=dict(cache.attrs))
        attrs = {key: value for key, value in cache.attrs.items() if key != "src"}
        local = self._directory(cache.attrs["src"], "--cache-from")
        return CacheOption(type=cache.type, attrs=attrs, token=local.token)

    def _cache_to(self, cache: Cache) -> CacheOption:
        if cache.type != "local":
            return CacheOption(type=cache.type, attrs=dict(cache.attrs))
        attrs = {key: value for key, value in cache.attrs.items() if key != "dest"}
        token = self.channel.offer_output_directory(self._expanded(cache.attrs["dest"]))
        return CacheOption(type=cache.type, attrs=attrs, token=token)

    def _expanded(self, path: str) -> str:
        """The shell leaves `src=~/file` alone."""
        home = self.environment.get("HOME", "")
        return home + path[1:] if home and path.startswith("~/") else path


def _check_size(id: str, size: int) -> None:
    if size > MAX_SECRET:
        raise InvalidError(
            f"secret {id!r} has {size} bytes; secrets are at most {MAX_SECRET // 1024} KiB",
            hint="mount large files with RUN --mount=type=bind from a named context",
        )


def _is_socket(path: str) -> bool:
    try:
        return stat.S_ISSOCK(os.stat(path).st_mode)
    except OSError as error:
        raise NotFoundError(f"--ssh: can't use {path}: {error.strerror}", hint="give a socket or key files") from error


def _read(path: str) -> bytes:
    """A Dockerfile from a pipe, say; of endless ones only so much that its size is found out."""
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_DOCKERFILE + 1)
    except OSError as error:
        raise InvalidError(f"can't read the Dockerfile {path!r}: {error.strerror}") from error
    if len(data) > MAX_DOCKERFILE:
        raise InvalidError(f"{path!r} is too large to be a Dockerfile", hint="is it the right file?")
    return data

"""File systems to be, as values: what a frontend makes its graph of.

A `State` is an edge of the graph and the surroundings in which steps on it run. Nothing is built by making one, and
nothing changes one: each step gives another.

    base = image("docker.io/library/debian:bookworm-slim")
    built = base.run("make -C /src", mounts=[bind(local("context"), "/src")])
    merge(base, scratch().file(copy(built, "/out/app", "/usr/bin/app")))

Specification: LLB, moby/buildkit `solver/pb/ops.proto`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from boatyard.build.frontend.dockerfile.convert.paths import absolute
from boatyard.build.llb import codec
from boatyard.build.llb.graph import DiffOp, Edge, Graph, MergeOp, Op, OpMetadata
from boatyard.frontend.action import Action, file_op
from boatyard.frontend.execution import Execution, exec_op
from boatyard.frontend.mount import Mount
from boatyard.frontend.place import Place
from boatyard.image.platform import Platform

NAME = "llb.customname"


@dataclass(frozen=True, slots=True)
class State:
    """Files: those of `edge`, none where that is None. `environment`, `directory` and `user` are those of the steps
    that run on them; `platform` is the builder's own where it is None. `texts`: the files that steps point into, by
    name. `steps`: what made the layers on top of its base, for the image's history; None when the base isn't known."""

    edge: Edge | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    directory: str = "/"
    user: str = ""
    platform: Platform | None = None
    texts: Mapping[str, str] = field(default_factory=dict)
    steps: tuple[str, ...] | None = ()

    @property
    def graph(self) -> Graph:
        return Graph(self.edge, self.texts)

    # -- surroundings

    def with_environment(self, variables: Mapping[str, str]) -> State:
        """With these variables set, besides those that are."""
        return replace(self, environment={**self.environment, **variables})

    def in_directory(self, path: str) -> State:
        """Steps begin there; a relative path is meant below the present one."""
        return replace(self, directory=absolute(path, self.directory))

    def as_user(self, user: str) -> State:
        """`name`, `uid`, `name:group` or `uid:gid`; "" is root."""
        return replace(self, user=user)

    # -- steps

    def run(
        self,
        command: str | Sequence[str],
        *,
        mounts: Sequence[Mount[State]] = (),
        environment: Mapping[str, str] | None = None,
        secrets: Mapping[str, str] | None = None,
        network: str = "default",
        name: str = "",
        at: Place | None = None,
        ignore_cache: bool = False,
    ) -> State:
        """The files after a process has run on them; see `execute`."""
        return self.execute(
            command,
            mounts=mounts,
            environment=environment,
            secrets=secrets,
            network=network,
            name=name,
            at=at,
            ignore_cache=ignore_cache,
        ).root

    def execute(
        self,
        command: str | Sequence[str],
        *,
        mounts: Sequence[Mount[State]] = (),
        environment: Mapping[str, str] | None = None,
        secrets: Mapping[str, str] | None = None,
        network: str = "default",
        name: str = "",
        at: Place | None = None,
        ignore_cache: bool = False,
        valid_exit_codes: Sequence[int] = (),
    ) -> Execution[State]:
        """Run a process: a text for `/bin/sh -c`, or a program and its arguments. `environment` is this step's alone.
        `secrets`: variables that hold secrets, name -> id. `network`: default, none, or host (an entitlement).
        `at` is shown when the step fails."""
        words = ("/bin/sh", "-c", command) if command and isinstance(command, str) else tuple(command)
        op, inputs, outputs = exec_op(
            self.edge,
            words,
            [(mount, mount.source.edge if mount.source else None) for mount in mounts],
            environment={**self.environment, **(environment or {})},
            directory=self.directory,
            user=self.user,
            secrets=secrets or {},
            network=network,
            valid_exit_codes=tuple(valid_exit_codes),
        )
        name = name or (command if isinstance(command, str) else " ".join(command))
        sources = [mount.source for mount in mounts if mount.source]
        root = self._then(op, inputs, sources, name, at, ignore_cache=ignore_cache)
        assert root.edge is not None
        vertex = root.edge.vertex
        written = {
            target: replace(source or State(), edge=Edge(vertex, index), texts=root.texts, steps=None)
            for (target, index), source in zip(outputs, [m.source for m in mounts if m.writable_output], strict=True)
        }
        return Execution(root, written)

    def file(
        self, *actions: Action[State], name: str = "", at: Place | None = None, ignore_cache: bool = False
    ) -> State:
        """The files after these actions (`copy`, `make_file`, `make_directory`, `remove`, `symlink`), as one step."""
        sources = [action.source for action in actions if action.source]
        op, inputs = file_op(
            self.edge, [(action, action.source.edge if action.source else None) for action in actions], self.directory
        )
        name = name or ", ".join(action.told for action in actions)
        return self._then(op, inputs, sources, name, at, ignore_cache=ignore_cache)

    def _then(
        self,
        op: Op,
        inputs: Sequence[Edge],
        sources: Sequence[State],
        name: str,
        at: Place | None,
        *,
        ignore_cache: bool = False,
    ) -> State:
        texts = dict(self.texts)
        for source in sources:
            texts |= source.texts
        if at is not None:
            texts[at.file.name] = at.file.text
        metadata = OpMetadata(ignore_cache=ignore_cache, description={NAME: name} if name else {})
        locations = (at.location,) if at is not None else ()
        vertex = codec.vertex(op, inputs, self.platform, metadata, locations)
        steps = None if self.steps is None else (*self.steps, name)
        return replace(self, edge=Edge(vertex), texts=texts, steps=steps)


def scratch(platform: Platform | None = None) -> State:
    """No files at all."""
    return State(platform=platform)


def merge(*states: State, name: str = "", at: Place | None = None) -> State:
    """All their files; of two at the same path, the later. It runs nothing and copies nothing: layers stay as they
    are. Surroundings are the first's."""
    if not states:
        return State()
    edges = [state.edge for state in states if state.edge is not None]
    texts = {key: text for state in states for key, text in state.texts.items()}
    if len(edges) < 2:
        return replace(states[0], edge=edges[0] if edges else None, texts=texts)
    merged = replace(states[0], texts=texts)._then(MergeOp(tuple(range(len(edges)))), edges, (), name, at)
    known = [state.steps for state in states if state.steps is not None]
    steps = tuple(step for steps in known for step in steps) if len(known) == len(states) else None
    return replace(merged, steps=steps)


def difference(lower: State, upper: State, *, name: str = "", at: Place | None = None) -> State:
    """What turns `lower` into `upper`: the files that are new or changed, and the removals."""
    edges = [edge for edge in (lower.edge, upper.edge) if edge is not None]
    if lower.edge is None or upper.edge is None:
        op = DiffOp(0 if lower.edge else -1, 0 if upper.edge else -1)
    else:
        op = DiffOp(0, 1)
    if not edges:
        return upper
    return replace(upper._then(op, edges, [lower], name, at), steps=None)

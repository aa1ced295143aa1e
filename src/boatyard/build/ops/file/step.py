"""The op of a file vertex: its key, and the states that its actions go through.

A chain of actions, each on the state that the one before left, writes one layer. A state is made a layer of its own
when it is an output, when it is copied from, or when several actions start from it.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from boatyard.build.copying.copy import translated
from boatyard.build.copying.draft import Draft
from boatyard.build.copying.memory import ContextMemory
from boatyard.build.copying.reuse import Note, Reuse, open_reuse
from boatyard.build.llb.graph import Chown, Copy, FileAction, FileOp, MkDir, MkFile, Rm, Symlink, User, Vertex
from boatyard.build.ops.file import actions
from boatyard.build.ops.file.owner import GROUP, PASSWD, resolve
from boatyard.build.result import LayersResult, Result, Selector, layer_files
from boatyard.build.solver.types import CacheMap, ContentKey, ContentOf, StepContext
from boatyard.build.source.local import LocalTree
from boatyard.build.tree.layers import LayerTree
from boatyard.build.tree.node import Tree
from boatyard.errors import InvalidError
from boatyard.image.interruption import Stop, run_interruptible
from boatyard.image.layer.chain import Chain
from boatyard.image.layer.store import LayerStore


class FileStep:
    """The op of one file vertex in one build."""

    def __init__(self, vertex: Vertex, op: FileOp, layers: LayerStore, memory: ContextMemory) -> None:
        self._vertex = vertex
        self._op = op
        self._layers = layers
        self._memory = memory
        self._count = len(vertex.inputs)
        self._current: dict[int, LocalTree] = {}
        """Clients' directories as they were when their key was computed."""

    async def cache_map(self, step: StepContext) -> CacheMap:
        _check(self._op, self._count)
        return CacheMap(
            digest=f"file {self._digest()}",
            contents=tuple(self._content_of(index) for index in range(self._count)),
            components=_components(self._op),
        )

    def _digest(self) -> str:
        return hashlib.sha256(repr((self._count, self._op)).encode("utf-8", "surrogateescape")).hexdigest()

    def _content_of(self, index: int) -> ContentOf | None:
        """An input that is only read counts by what is read of it; one that is built on, by its own key."""
        if any(action.input == index for action in self._op.actions):
            return None
        selectors = [selector for action in self._op.actions for selector in _selectors(action, index)]
        return partial(self._content_key, index, selectors) if selectors else None

    async def _content_key(self, index: int, selectors: Sequence[Selector], result: Result) -> ContentKey:
        if isinstance(result, LocalTree):
            result = self._current[index] = await result.current()
        return await result.content_key(selectors)

    async def execute(self, step: StepContext, inputs: Sequence[Result]) -> Sequence[Result]:
        inputs = [self._current.get(index, result) for index, result in enumerate(inputs)]
        bases = {action.input for action in self._op.actions}
        chains = {index: await result.chain() for index, result in enumerate(inputs) if index in bases}
        warnings: list[str] = []
        try:
            outputs = await run_interruptible(lambda stop: self._run(inputs, chains, warnings.append, stop))
        finally:
            for warning in dict.fromkeys(warnings):
                step.warn(warning)
        return [LayersResult(chain, self._layers) for chain in outputs]

    def _run(
        self, inputs: Sequence[Result], chains: dict[int, Chain], warn: Callable[[str], None], stop: Stop
    ) -> list[Chain]:
        identities = sorted(result.identity for result in inputs if isinstance(result, LocalTree))
        key = f"{self._digest()} {identities}" if identities else ""
        states = _States(self._op, inputs, chains, self._layers, self._memory, key, stop)
        try:
            for index, action in enumerate(self._op.actions):
                stop.check()
                states.act(self._count + index, action, warn)
            return states.outputs()
        finally:
            states.close()


class _States:
    """What inputs and actions left, by number: inputs first, then actions. Belongs to one thread."""

    def __init__(
        self,
        op: FileOp,
        inputs: Sequence[Result],
        chains: dict[int, Chain],
        layers: LayerStore,
        memory: ContextMemory,
        key: str,
        stop: Stop,
    ) -> None:
        self._inputs = inputs
        self._layers = layers
        self._memory = memory
        self._key = key
        self._stop = stop
        self._chains: dict[int, Chain] = {-1: (), **chains}
        self._drafts: dict[int, Draft] = {}
        self._reuses: dict[int, Reuse | None] = {}
        self._trees: dict[int, Tree] = {}
        self._outputs: dict[int, int] = {}
        self._renamed: dict[str, str] = {}
        self._kept = _kept(op, len(inputs))

    def act(self, number: int, action: FileAction, warn: Callable[[str], None]) -> None:
        draft = self._draft(action.input, number)
        try:
            self._act(draft, number, action, warn)
        except OSError as error:
            raise translated(error, _place(action).lstrip("/")) from error
        if action.output >= 0:
            self._outputs[action.output] = number
        if number in self._kept:
            self._commit(number)

    def _act(self, draft: Draft, number: int, action: FileAction, warn: Callable[[str], None]) -> None:
        match action.action:
            case Copy() as copy:
                tree = self._tree(action.secondary_input)
                owner = resolve(copy.owner, self._tree, warn)
                reuse = self._reuse(draft, action.secondary_input, number)
                actions.copy(draft, tree, copy, owner, self._stop, reuse, self._renamed, warn)
            case MkFile() as file:
                actions.make_file(draft, file, resolve(file.owner, self._tree, warn))
            case MkDir() as directory:
                actions.make_directory(draft, directory, resolve(directory.owner, self._tree, warn))
            case Symlink() as link:
                actions.make_symlink(draft, link, resolve(link.owner, self._tree, warn))
            case Rm() as rm:
                actions.remove(draft, rm)

    def _draft(self, base: int, number: int) -> Draft:
        """What the action writes to: what the one before wrote to, or a new layer."""
        draft = self._drafts.pop(base, None)
        if draft is None:
            draft = Draft(self._layers, self._chains[base])
        self._drafts[number] = draft
        return draft

    def _commit(self, number: int) -> None:
        draft = self._drafts[number]
        chain = self._chains[number] = draft.commit()
        del self._drafts[number]
        if self._key and draft.noted:
            self._memory.keep(f"{self._key} {number}", Note(chain[-1], draft.noted))

    def _tree(self, number: int) -> Tree:
        if number not in self._trees:
            self._trees[number] = self._opened(number)
        return self._trees[number]

    def _opened(self, number: int) -> Tree:
        if number < 0:
            return LayerTree(())
        if number < len(self._inputs):
            result = self._inputs[number]
            if isinstance(result, LocalTree):
                return result.files
            if isinstance(result, LayersResult):
                return result.files()
            raise InvalidError(f"input {number} has no files")
        return layer_files(self._layers, self._chains[number])

    def _reuse(self, draft: Draft, source: int, number: int) -> Reuse | None:
        """An earlier layer that the files of a client's directory may be linked from."""
        if not 0 <= source < len(self._inputs) or not isinstance(self._inputs[source], LocalTree):
            return None
        end = min((each for each in self._kept if each >= number), default=number)
        if end not in self._reuses:
            self._reuses[end] = open_reuse(self._layers, self._memory.note(f"{self._key} {end}"))
        return self._reuses[end]

    def outputs(self) -> list[Chain]:
        return [self._chains[self._outputs[index]] for index in range(len(self._outputs))]

    def close(self) -> None:
        """Remove what was not made a layer."""
        for draft in self._drafts.values():
            draft.discard()
        for reuse in self._reuses.values():
            if reuse:
                reuse.close()


# -- reading the definition ------------------------------------------------------------------------------------------


def _kept(op: FileOp, inputs: int) -> set[int]:
    """The states that must become layers of their own."""
    uses = Counter(action.input for action in op.actions)
    kept = {number for number, count in uses.items() if count > 1}
    for index, action in enumerate(op.actions):
        kept.add(action.secondary_input)
        kept.update(user.input for user in _users(action) if user.id is None)
        if action.output >= 0:
            kept.add(inputs + index)
    return {number for number in kept if number >= inputs}


def _check(op: FileOp, inputs: int) -> None:
    outputs = sorted(action.output for action in op.actions if action.output >= 0)
    if not outputs or outputs != list(range(len(outputs))):
        raise InvalidError(f"the file op's outputs are not 0, 1, 2 and so on: {outputs}")
    for index, action in enumerate(op.actions):
        named = [action.input, action.secondary_input, *(user.input for user in _users(action))]
        if any(number < -1 or number >= inputs + index for number in named):
            raise InvalidError(f"action {index} of the file op names an input that isn't there before it: {named}")
        if any("\0" in path for path in _paths(action)):
            raise InvalidError(f"action {index} of the file op has a path with a NUL byte")


def _paths(action: FileAction) -> tuple[str, ...]:
    match action.action:
        case Copy(src=first, dest=second) | Symlink(oldpath=first, newpath=second):
            return first, second
        case MkFile(path=path) | MkDir(path=path) | Rm(path=path):
            return (path,)


def _place(action: FileAction) -> str:
    """Where an action writes."""
    return _paths(action)[-1]


def _users(action: FileAction) -> Iterator[User]:
    owner: Chown | None = None if isinstance(action.action, Rm) else action.action.owner
    if owner is not None:
        for user in (owner.user, owner.group):
            if user is not None:
                yield user


def _selectors(action: FileAction, index: int) -> Iterator[Selector]:
    """What an action reads of an input."""
    copy = action.action
    if isinstance(copy, Copy) and action.secondary_input == index:
        yield Selector(
            copy.src,
            wildcard=copy.allow_wildcard,
            follow_links=copy.follow_symlink,
            include_patterns=copy.include_patterns,
            exclude_patterns=copy.exclude_patterns,
            required_paths=copy.required_paths,
        )
    if not isinstance(action.action, Rm) and (owner := action.action.owner) is not None:
        for user, path in ((owner.user, PASSWD), (owner.group, GROUP)):
            if user is not None and user.id is None and user.input == index:
                yield Selector(path, optional=True)


def _components(op: FileOp) -> dict[str, str]:
    """The definition in words, for explanations."""
    parts = {}
    for number, action in enumerate(op.actions, start=1):
        which = f" of action {number}" if len(op.actions) > 1 else ""
        for name, value in _described(action).items():
            parts[f"{name}{which}"] = value
    return parts


def _described(action: FileAction) -> dict[str, str]:
    match action.action:
        case Copy() as copy:
            parts = {"the source": copy.src, "the destination": copy.dest}
            if copy.mode_str or copy.mode != -1:
                parts["the mode"] = copy.mode_str or f"{copy.mode:o}"
            if copy.include_patterns:
                parts["the include patterns"] = " ".join(copy.include_patterns)
            if copy.exclude_patterns:
                parts["the exclude patterns"] = " ".join(copy.exclude_patterns)
            if copy.timestamp != -1:
                parts["the time"] = str(copy.timestamp)
        case MkFile() as file:
            content = hashlib.sha256(file.data).hexdigest()
            parts = {"the file": file.path, "the file's mode": f"{file.mode:o}", "the file's content": content}
        case MkDir() as directory:
            parts = {"the directory": directory.path, "the directory's mode": f"{directory.mode:o}"}
        case Symlink() as link:
            parts = {"the link": f"{link.newpath} → {link.oldpath}"}
        case Rm() as rm:
            return {"what is removed": rm.path}
    if action.action.owner is not None:
        parts["the owner"] = _owner_text(action.action.owner)
    return parts


def _owner_text(owner: Chown) -> str:
    return ":".join(
        "" if user is None else user.name if user.id is None else str(user.id) for user in (owner.user, owner.group)
    )

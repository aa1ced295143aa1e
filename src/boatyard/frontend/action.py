"""What a file step does: copy from other states, make files and directories, remove, link."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from boatyard.build.frontend.dockerfile.convert.owner import parse_mode, parse_owner
from boatyard.build.frontend.dockerfile.convert.paths import absolute, destination, has_wildcards
from boatyard.build.llb.graph import Chown, Copy, Edge, FileAction, FileOp, MkDir, MkFile, Rm, Symlink
from boatyard.errors import InvalidError

S = TypeVar("S")


@dataclass(frozen=True, slots=True)
class Action(Generic[S]):
    """`action` is complete but for its owner and for relative paths. `told` is how progress names it."""

    action: Copy | MkFile | MkDir | Rm | Symlink
    told: str
    owner: str = ""
    source: S | None = None


def copy(
    source: S,
    path: str,
    target: str,
    *,
    owner: str = "",
    mode: int | str | None = None,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    unpack: bool = False,
    missing_ok: bool = False,
) -> Action[S]:
    """Files of another state, as `COPY` does it: of a directory its contents, wildcards are allowed, a `target` that
    ends in `/` is a directory, missing parents are made. `owner` is `user[:group]`, names or numbers; without one they
    belong to root. `mode`: a number, or symbolic as in `u=rwX,go=rX`. `unpack`: archives are unpacked, as `ADD` does
    it."""
    number, symbolic = parse_mode(_octal(mode))
    return Action(
        Copy(
            absolute(path),
            target,
            mode=number,
            mode_str=symbolic,
            follow_symlink=True,
            dir_copy_contents=True,
            attempt_unpack=unpack,
            create_dest_path=True,
            allow_wildcard=has_wildcards(path),
            allow_empty_wildcard=missing_ok,
            include_patterns=tuple(include),
            exclude_patterns=tuple(exclude),
        ),
        f"copy {path} to {target}",
        owner or "0:0",
        source,
    )


def make_file(path: str, data: bytes | str = b"", *, mode: int = 0o644, owner: str = "") -> Action[S]:
    encoded = data.encode() if isinstance(data, str) else data
    return Action(MkFile(path, encoded, mode=mode), f"make file {path}", owner)


def make_directory(path: str, *, mode: int = 0o755, owner: str = "", parents: bool = True) -> Action[S]:
    """One that is there already stays as it is."""
    return Action(MkDir(path, mode=mode, make_parents=parents), f"make directory {path}", owner)


def remove(path: str, *, missing_ok: bool = False) -> Action[S]:
    """A file, or a directory with all that is in it; wildcards are allowed."""
    action = Rm(path, allow_not_found=missing_ok, allow_wildcard=has_wildcards(path))
    return Action(action, f"remove {path}")


def symlink(path: str, to: str, *, owner: str = "") -> Action[S]:
    """A link at `path` that says `to`."""
    return Action(Symlink(to, path), f"link {path} to {to}", owner)


def file_op(
    base: Edge | None, actions: Sequence[tuple[Action[S], Edge | None]], directory: str
) -> tuple[FileOp, list[Edge]]:
    """The op, and its inputs. Each action works on what the one before made."""
    if not actions:
        raise InvalidError("a file step needs at least one action")
    inputs = [base] if base is not None else []
    places = [_index(inputs, edge) for _, edge in actions]
    base_index = 0 if base is not None else -1
    found = []
    for number, (item, source) in enumerate(zip((action for action, _ in actions), places, strict=True)):
        found.append(
            FileAction(
                base_index if number == 0 else len(inputs) + number - 1,
                _finished(item, base_index, directory),
                source,
                0 if number == len(actions) - 1 else -1,
            )
        )
    return FileOp(tuple(found)), inputs


def _index(inputs: list[Edge], edge: Edge | None) -> int:
    if edge is None:
        return -1
    if edge not in inputs:
        inputs.append(edge)
    return inputs.index(edge)


def _finished(item: Action[S], base: int, directory: str) -> Copy | MkFile | MkDir | Rm | Symlink:
    owner = _owner(item.owner, base)
    match item.action:
        case Copy() as action:
            return replace(action, owner=owner, dest=destination(action.dest, directory))
        case MkFile() | MkDir() as made:
            return replace(made, owner=owner, path=absolute(made.path, directory))
        case Symlink() as link:
            return replace(link, owner=owner, newpath=absolute(link.newpath, directory))
        case Rm() as removal:
            return replace(removal, path=absolute(removal.path, directory))


def _owner(text: str, base: int) -> Chown | None:
    if not text:
        return None
    try:
        return parse_owner(text, base)
    except InvalidError as error:
        raise InvalidError(error.message, hint="on scratch, owners have to be numbers, as in 1000:1000") from error


def _octal(mode: int | str | None) -> str:
    if mode is None:
        return ""
    return f"{mode:o}" if isinstance(mode, int) else mode

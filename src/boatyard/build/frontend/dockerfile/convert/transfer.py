"""COPY and ADD: files of the context, a stage, an image, a URL, a repository or a heredoc into the stage.

One file step a COPY. With --link it starts from nothing and is merged onto the stage, so that it needn't run again when
the stage below changes. Specification: the Dockerfile reference, "COPY" and "ADD"; reference/builder.md 4.5.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from boatyard.build.frontend.dockerfile import lint_build, sources
from boatyard.build.frontend.dockerfile.convert.naming import expanded, number, step_name
from boatyard.build.frontend.dockerfile.convert.owner import accounts_read, parse_mode, parse_owner
from boatyard.build.frontend.dockerfile.convert.paths import absolute, destination, has_wildcards
from boatyard.build.frontend.dockerfile.convert.remote import check_remote, is_remote, remote_file
from boatyard.build.frontend.dockerfile.convert.stage import Conversion, StageBuild, Step
from boatyard.build.frontend.dockerfile.draft import Draft, Inputs
from boatyard.build.frontend.dockerfile.instructions import Add, Copy, InlineFile, Transfer
from boatyard.build.llb import graph
from boatyard.build.llb.graph import FileAction, FileOp, MergeOp, MkFile, ProgressGroup, SourceLocation
from boatyard.errors import InvalidError


@dataclass(frozen=True, slots=True)
class Source:
    """Where files come from (None: the empty tree), and how they are copied: without owner, mode and destination."""

    files: Draft | None
    action: graph.Copy


def copy(build: Conversion, stage: StageBuild, step: Step, instruction: Copy) -> None:
    if any(is_remote(source) for source in instruction.sources):
        raise InvalidError("COPY can't fetch from a URL or a repository", hint="ADD can")
    origin = step.sources[0] if step.sources else None
    if origin is not None and not origin.converted:
        raise InvalidError(
            f"can't copy from stage {instruction.from_!r}: it is not built yet",
            hint="a stage can take files only from stages above it",
        )
    files = origin.output if origin is not None else build.context_draft
    used = origin.paths if origin is not None else build.context_paths
    used.update(absolute(source) for source in instruction.sources)
    if origin is None:
        _check_ignored(build, instruction)
    _transfer(build, stage, instruction, [_local(files, path, instruction) for path in instruction.sources])


def add(build: Conversion, stage: StageBuild, step: Step, instruction: Add) -> None:
    check_remote(instruction)
    found: list[Source] = []
    name = _name(build, stage, instruction, stage.done + 1)
    for path in instruction.sources:
        if is_remote(path):
            file, src, unpack = remote_file(instruction, path, name, build.location(instruction.range))
            action = graph.Copy(src, "", create_dest_path=True, attempt_unpack=unpack)
            found.append(Source(file, action))
        else:
            build.context_paths.add(absolute(path))
            found.append(_local(build.context_draft, path, instruction))
    _check_ignored(build, instruction)
    _transfer(build, stage, instruction, found)


def _check_ignored(build: Conversion, instruction: Transfer) -> None:
    if build.ignore is None:
        return
    report = build.report.scoped(instruction.comments)
    for path in instruction.sources:
        if not is_remote(path):
            lint_build.ignored_source(report, instruction, path, build.ignore)


def _local(files: Draft | None, path: str, instruction: Transfer) -> Source:
    unpack = isinstance(instruction, Add)
    if isinstance(instruction, Add) and instruction.unpack is not None:
        unpack = instruction.unpack
    include: tuple[str, ...] = ()
    required: tuple[str, ...] = ()
    if isinstance(instruction, Copy) and instruction.parents:
        path, include, required = _with_parents(path)
    action = graph.Copy(
        absolute(path),
        "",
        follow_symlink=True,
        dir_copy_contents=True,
        attempt_unpack=unpack,
        create_dest_path=True,
        allow_wildcard=True,
        allow_empty_wildcard=True,
        include_patterns=include,
        required_paths=required,
    )
    return Source(files, action)


def _with_parents(path: str) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    """`--parents`: the directory to copy, the pattern of what to take of it, and the path that has to be there. What
    stands before `/./` is left off the copies."""
    pivot, found, pattern = path.partition("/./")
    if not found:
        pivot, pattern = "/", path
    pattern = absolute(pattern)
    required = () if has_wildcards(path) else (absolute(pivot + pattern),)
    return pivot, (pattern.removeprefix("/"),), required


def _inline(file: InlineFile, locations: tuple[SourceLocation, ...]) -> Source:
    path = absolute(file.path)
    action = MkFile(path, file.data.encode())
    made = Draft(
        FileOp((FileAction(-1, action, -1, 0),)),
        metadata=sources.internal("preparing inline document"),
        locations=locations,
    )
    return Source(made, graph.Copy(path, "", create_dest_path=True))


def _transfer(build: Conversion, stage: StageBuild, instruction: Transfer, found: Iterable[Source]) -> None:
    location = build.location(instruction.range)
    found = [*found, *(_inline(file, location) for file in instruction.inline)]
    # A mode of the destination needs the destination, so that --chmod undoes --link, as it does in BuildKit.
    linked = instruction.link and not instruction.chmod
    base = None if linked else stage.output
    number(stage)
    name = _name(build, stage, instruction, stage.done)
    op, inputs = _file_op(stage, instruction, base, found)
    metadata = sources.named(name, ignore_cache=stage.ignore_cache)
    if linked and stage.output is not None:
        group = ProgressGroup(f"{name} {stage.platform}", name, weak=True)
        copied = Draft(op, inputs, metadata=replace(metadata, progress_group=group), locations=location)
        link_name = _name(build, stage, instruction, stage.done, "LINK ")
        stage.output = Draft(
            MergeOp((0, 1)),
            (stage.output, copied),
            metadata=sources.named(
                link_name, ignore_cache=stage.ignore_cache, progress_group=replace(group, weak=False)
            ),
            locations=location,
        )
    else:
        stage.output = Draft(op, inputs, metadata=metadata, locations=location)
    stage.image.record(f"{_told(instruction)} # buildkit", build.created, layer=True)


def _file_op(
    stage: StageBuild, instruction: Transfer, base: Draft | None, found: Iterable[Source]
) -> tuple[FileOp, list[Draft]]:
    """Each action works on what the one before made."""
    inputs = Inputs()
    base_index = inputs.index(base)
    owner = parse_owner(instruction.chown, base_index) if instruction.chown else None
    stage.paths.update(accounts_read(owner))
    mode, mode_str = parse_mode(instruction.chmod)
    dest = destination(instruction.destination, stage.directory)
    copies = [
        (
            inputs.index(source.files),
            replace(
                source.action,
                dest=dest,
                owner=owner,
                mode=mode,
                mode_str=mode_str,
                exclude_patterns=instruction.exclude,
            ),
        )
        for source in found
    ]
    count = len(inputs.drafts)
    actions = tuple(
        FileAction(
            base_index if position == 0 else count + position - 1,
            action,
            source,
            0 if position == len(copies) - 1 else -1,
        )
        for position, (source, action) in enumerate(copies)
    )
    return FileOp(actions), inputs.drafts


def _name(build: Conversion, stage: StageBuild, instruction: Transfer, position: int, mark: str = "") -> str:
    text = expanded(instruction.text, stage.env, build.escape)
    return step_name(build, stage, mark + text, stage.platform, stage.env, position)


def _told(instruction: Transfer) -> str:
    """As history tells it."""
    words = [instruction.name]
    if isinstance(instruction, Copy) and instruction.parents:
        words.append("--parents")
    if instruction.chown:
        words.append(f"--chown={instruction.chown}")
    if instruction.chmod:
        words.append(f"--chmod={instruction.chmod}")
    words += instruction.sources
    words += (f"<<{file.path}" for file in instruction.inline)
    return " ".join([*words, instruction.destination])

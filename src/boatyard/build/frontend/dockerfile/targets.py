"""The stages of a file that can be built (`--call=targets`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from boatyard.build.frontend.dockerfile.outline import Location, location, table

if TYPE_CHECKING:
    from boatyard.build.frontend.dockerfile.instructions import Dockerfile


class Target(msgspec.Struct, frozen=True, omit_defaults=True):
    name: str = ""
    default: bool = False
    description: str = ""
    base: str = ""
    platform: str = ""
    location: Location | None = None


class Targets(msgspec.Struct, frozen=True):
    """BuildKit's answer to `frontend.targets`."""

    targets: tuple[Target, ...]
    sources: tuple[bytes, ...]


def targets(dockerfile: Dockerfile, source: bytes) -> Targets:
    """The last stage is the default one."""
    return Targets(
        tuple(
            Target(
                name=stage.stage_name,
                default=stage is dockerfile.stages[-1],
                description=stage.comment,
                base=stage.base,
                platform=stage.platform,
                location=location(stage.range),
            )
            for stage in dockerfile.stages
        ),
        (source,),
    )


def as_text(document: Targets) -> str:
    """As a table, for people."""
    rows = [("TARGET", "DESCRIPTION")]
    for target in document.targets:
        default = "(default)" if target.default else ""
        rows.append((" ".join(filter(None, (target.name, default))), target.description))
    return table(rows, gap=1)

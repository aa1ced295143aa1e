"""Build arguments that nothing in the file asks for: most often a misspelt name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from boatyard.build.frontend.dockerfile import variables
from boatyard.build.frontend.dockerfile.instructions import Arg, Dockerfile, Instruction, Onbuild
from boatyard.build.frontend.dockerfile.suggest import did_you_mean
from boatyard.image.platform import Platform
from boatyard.progress import WarningEvent

_OF_THE_BUILDER = ("BUILDKIT_", "SOURCE_DATE_EPOCH")
_SOMEWHERE = Platform(os="linux", architecture="amd64")


def unused_arguments(
    dockerfile: Dockerfile, triggers: Iterable[Instruction], given: Mapping[str, str]
) -> Iterator[WarningEvent]:
    """One warning for each of `given` that no ARG names: in any stage, also those that aren't built, and in the
    `triggers` of base images. Those that the builder itself reads need no ARG."""
    instructions = [
        *dockerfile.arguments,
        *triggers,
        *(item for stage in dockerfile.stages for item in stage.instructions),
    ]
    declared = {argument.key for item in instructions if isinstance(item, Arg) for argument in item.arguments}
    if any(isinstance(item, Onbuild) and item.expression.upper().startswith("ARG") for item in instructions):
        return  # they are for builds on top of this one, and may be given to both
    known = {*declared, *variables.predefined(_SOMEWHERE, _SOMEWHERE, "", {})}
    for name in sorted(given):
        if name in known or name.startswith(_OF_THE_BUILDER) or variables.proxies({name: "x"}):
            continue
        yield WarningEvent(
            code="UnusedBuildArg",
            short=f"the build argument {name!r} was given, but no ARG of {dockerfile.filename} declares it"
            f"{did_you_mean(name, sorted(declared))}",
        )

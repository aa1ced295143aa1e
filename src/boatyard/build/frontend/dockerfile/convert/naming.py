"""What progress calls a step: `[linux/amd64 build 2/5] RUN make`."""

from __future__ import annotations

from collections.abc import Mapping

from boatyard.build.frontend.dockerfile import shell
from boatyard.build.frontend.dockerfile.convert.stage import Conversion, StageBuild
from boatyard.build.frontend.dockerfile.convert.wording import upper_first
from boatyard.errors import InvalidError
from boatyard.image import platform as platforms
from boatyard.image.platform import Platform


def expanded(text: str, variables: Mapping[str, str], escape: str, *, keep: bool = False) -> str:
    """An instruction with its variables' values. `keep`: quotes and unknown variables stay, since a shell will read
    them. Text that can't be expanded stays as it is."""
    if "$" not in text and (keep or (escape not in text and "'" not in text and '"' not in text)):
        return upper_first(text)
    try:
        text = shell.expand(text, variables, escape=escape, raw_quotes=keep, keep_unset=keep).text
    except InvalidError:
        pass
    return upper_first(text)


def number(stage: StageBuild) -> None:
    """Go on to the stage's next step."""
    stage.done += 1


def step_name(
    build: Conversion,
    stage: StageBuild,
    text: str,
    platform: Platform | None,
    variables: Mapping[str, str],
    position: int | None = None,
) -> str:
    """`position` is that of the step the stage has come to, unless it is given."""
    if not stage.total:
        return text
    place = [f"{stage.done if position is None else position:>{len(str(stage.total))}}/{stage.total}"]
    if stage.label:
        place.insert(0, stage.label)
    if build.options.multi_platform and platform is not None:
        place.insert(0, f"{platform}{_crossing(platform, variables)}")
    trigger = "ONBUILD " if stage.in_trigger else ""
    return f"[{' '.join(place)}] {trigger}{text}"


def _crossing(base: Platform, variables: Mapping[str, str]) -> str:
    """`->arm64` in a stage that runs on one platform and builds for another, as its declared TARGET arguments tell."""
    target = _target(base, variables)
    if target is None:
        return ""
    if target.os != base.os:
        return f"->{target}"
    if target.architecture == base.architecture:
        return ""
    return "->" + "/".join(filter(None, (target.architecture, target.variant)))


def _target(base: Platform, variables: Mapping[str, str]) -> Platform | None:
    if text := variables.get("TARGETPLATFORM"):
        try:
            return platforms.parse(text)
        except InvalidError:
            return None
    os, architecture, variant = (variables.get(f"TARGET{part}", "") for part in ("OS", "ARCH", "VARIANT"))
    if not (os or architecture or variant):
        return None
    return platforms.normalise(os or base.os, architecture or base.architecture, variant)

"""`boat build --check-reproducible`: two builds that know nothing of each other, and what they differ in.

Neither takes steps from the cache, both have cache mounts of their own, and the second begins in a later second than
the first ended: times that steps write down show.
"""

from __future__ import annotations

import os
import secrets
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import msgspec

from boatyard.cli.attributes import Output
from boatyard.cli.build.place import Stdin
from boatyard.cli.build.plan import Plan
from boatyard.cli.console import Console
from boatyard.cli.render.lines import harmless
from boatyard.client.calls import disk
from boatyard.client.documents.disk import CacheMountDelete
from boatyard.client.sync import Client
from boatyard.errors import InvalidError
from boatyard.image.archive import layout
from boatyard.image.comparison import CONFIG, INDEX, MANIFEST, Difference, compare

NAMESPACE = "build-arg:BUILDKIT_CACHE_MOUNT_NS"
MOST = 40
"""Lines that are shown of one layer."""
_WIDTH = 72
_NUMBERS = ("first", "second")


def refuse(planned: Plan) -> None:
    """Raises InvalidError for builds that can't be done twice, or make nothing to compare."""
    place = planned.place
    if place.stdin is not Stdin.UNUSED or place.dockerfile_source:
        raise InvalidError(
            "--check-reproducible reads everything twice, and standard input or a pipe can be read only once",
            hint="put it into a file",
        )
    if planned.call:
        raise InvalidError("--check-reproducible has nothing to compare: --call and --check build nothing")


@contextmanager
def checked(console: Console, client: Client, planned: Plan, build: Callable[[Plan], object]) -> Iterator[Plan | None]:
    """Builds twice, `build` runs a plan to its end. When both gave the same, what was asked for, to be made of what the
    second left in the cache; else None, and what differs is printed."""
    with _own_cache_mounts(client) as namespace:
        if _same(console, planned, namespace, build):
            yield _like_the_second(planned, namespace)
        else:
            yield None


def _same(console: Console, planned: Plan, namespace: str, build: Callable[[Plan], object]) -> bool:
    with ExitStack() as stack:
        name = stack.enter_context(tempfile.TemporaryDirectory(prefix="boat-twice-"))
        opened = []
        for number in _NUMBERS:
            directory = Path(name, number)
            build(_alone(planned, directory, f"{namespace}-{number}"))
            _into_next_second()
            descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
            stack.callback(os.close, descriptor)
            opened.append((layout.LayoutProvider(descriptor), layout.images(descriptor)[0].target))
        (first, first_image), (second, second_image) = opened
        if first_image.digest == second_image.digest:
            console.err("reproducible: two builds gave the same image\n")
            return True
        found = list(compare(first, first_image, second, second_image))
    console.out("".join(line + "\n" for line in report(found, planned)))
    return False


def _like_the_second(planned: Plan, namespace: str) -> Plan:
    attrs = {key: value for key, value in planned.attrs.items() if key != "no-cache"}
    return msgspec.structs.replace(planned, attrs={**attrs, NAMESPACE: f"{namespace}-{_NUMBERS[1]}"})


def _alone(planned: Plan, directory: Path, namespace: str) -> Plan:
    """A build that takes nothing from others, into an image layout."""
    images = [output for output in planned.outputs if output.type in ("image", "oci", "docker")]
    asked = dict(images[0].attrs) if images else {}
    # Compression doesn't change what is inside. What it is named, and where it would go, are of no interest here.
    for name in ("name", "push", "push-by-digest", "name-canonical", "compression-level", "force-compression"):
        asked.pop(name, None)
    attrs = {**asked, "tar": "false", "compression": "uncompressed"}
    if images and images[0].type == "docker":
        attrs.setdefault("oci-mediatypes", "false")
    return msgspec.structs.replace(
        planned,
        attrs={**planned.attrs, "no-cache": "", NAMESPACE: namespace},
        outputs=(Output("oci", str(directory), attrs),),
        cache_from=(),
        cache_to=(),
    )


@contextmanager
def _own_cache_mounts(client: Client) -> Iterator[str]:
    """How namespaces for cache mounts begin, which go at the end."""
    namespace = f"twice-{secrets.token_hex(8)}"
    try:
        yield namespace
    finally:
        mounts = client.call(disk.list_cache_mounts()).mounts
        if made := tuple(mount.id for mount in mounts if mount.id.startswith(f"{namespace}-")):
            client.call(disk.delete_cache_mounts(CacheMountDelete(ids=made)))


def _into_next_second() -> None:
    """What is written down now must differ from what was written down until now."""
    now = time.time()
    time.sleep(1.01 - now % 1)


def report(found: Iterable[Difference], planned: Plan) -> Iterator[str]:
    """Lines, and at the end what usually helps."""
    yield "not reproducible: two builds gave different images"
    groups: dict[tuple[str, str, str], list[Difference]] = {}
    for difference in found:
        groups.setdefault((difference.platform, difference.where, difference.command), []).append(difference)
    for (platform, where, command), differences in groups.items():
        title = ", ".join(part for part in (platform, where) if part)
        yield harmless(f"{title}: {_short(command)}" if command else title)
        lines = list(map(_line, differences))
        yield from lines[:MOST]
        if len(lines) > MOST:
            yield f"  and {len(lines) - MOST} more"
    everything = [difference for differences in groups.values() for difference in differences]
    yield from (f"  fix: {hint}" for hint in hints(everything, planned))


def _line(difference: Difference) -> str:
    what = f"{difference.field.ljust(8)}  {difference.path}" if difference.path else difference.field
    return harmless(f"  {what}: {_short(difference.first)} and {_short(difference.second)}")


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _WIDTH else text[: _WIDTH - 3] + "..."


def hints(found: Iterable[Difference], planned: Plan) -> Iterator[str]:
    documents = (CONFIG, MANIFEST, INDEX)
    fields = {difference.field for difference in found if difference.where not in documents}
    times = any(
        difference.field.endswith(("created", ".created")) for difference in found if difference.where in documents
    )
    epoch = "build-arg:SOURCE_DATE_EPOCH" in planned.attrs
    rewritten = any(output.attrs.get("rewrite-timestamp") in ("true", "1") for output in planned.outputs)
    if ("mtime" in fields or times) and not epoch:
        yield "--source-date-epoch=SECONDS (or SOURCE_DATE_EPOCH) sets the times of the image's documents"
    if "mtime" in fields and not rewritten:
        yield "-o type=image,rewrite-timestamp=true, with an epoch, bounds the times of files"
    if "content" in fields or "presence" in fields:
        yield (
            "steps wrote time, chance or names of their own into these files: remove caches and logs in the step that "
            "makes them, pin what is downloaded, and let programs obey SOURCE_DATE_EPOCH (declare it: ARG)"
        )
    if "owner" in fields or "mode" in fields:
        yield "set owners and modes in the step: COPY --chown and --chmod, chmod, install -m"

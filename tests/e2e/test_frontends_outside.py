"""Frontends that drive a daemon from outside, over BuildKit's API, with the same library."""

from __future__ import annotations

import asyncio
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from boatyard.errors import BoatyardError, ConflictError, FrontendError, SolveError, UnavailableError
from boatyard.frontend import (
    Answer,
    Bridge,
    BridgeError,
    Context,
    Frontend,
    Image,
    Options,
    bind,
    copy,
    make_file,
    outside,
    scratch,
    secret,
)
from boatyard.frontend.packages import frontend as packages
from boatyard.progress import Event, LogEvent, VertexEvent, WarningEvent
from e2e.yard import Yard, write_files

pytestmark = pytest.mark.runtime


@pytest.fixture
def context(tmp_path: Path) -> Path:
    return write_files(tmp_path / "context", {"Dockerfile": "first\nsecond\n", "data/f": "1", ".dockerignore": "x\n"})


def build(yard: Yard, frontend: Any, context: Path, **options: Any) -> dict[str, str]:
    directories = {"context": str(context), "dockerfile": str(context)}
    made = outside.build(frontend, address=f"unix://{yard.socket}", directories=directories, **options)
    return asyncio.run(asyncio.wait_for(made, 100))


async def everything(bridge: Bridge, options: Options, seen: Context) -> Image:
    base = await seen.image("busybox")
    done = base.state.execute(
        "cat /in/f /run/secrets/token > /out/both && echo worked",
        mounts=[bind(seen.files("data"), "/in", path="/data"), bind(scratch(), "/out", writable=True), secret("token")],
        network="none",
        name="put together",
        at=seen.file.place(2),
    )
    reference = await bridge.solve(done.outputs["/out"])
    both = await reference.read_file("/both")
    assert [entry.name for entry in await reference.read_dir("/")] == ["both"]
    await bridge.warn(seen.file.place(1).warning("a remark", code="Odd"), text=seen.file.text)
    state = scratch().file(copy(done.outputs["/out"], "both", "/both"), make_file("/read", both))
    return Image.of(state, bridge.platform, command=["/both"], labels=options.labels)


def test_all_of_a_build_over_the_api(yard: Yard, context: Path, tmp_path: Path) -> None:
    told: list[Event] = []
    response = build(
        yard,
        everything,
        context,
        options={"label:a": "b"},
        secrets={"token": lambda: b"s3cret"},
        outputs=[
            outside.Output("local", directory=str(tmp_path / "out")),
            outside.Output("oci", file=str(tmp_path / "out.tar")),
            outside.Output("image", {"name": "driven:1"}),
        ],
        tell=told.append,
    )
    assert (tmp_path / "out/both").read_text() == (tmp_path / "out/read").read_text() == "1s3cret"
    with tarfile.open(tmp_path / "out.tar") as archive:
        assert "index.json" in archive.getnames()
    assert response["containerimage.digest"].startswith("sha256:")
    config = json.loads(yard.run("image", "inspect", "--format", "{{json .Config}}", "driven:1").stdout)
    assert config["Labels"] == {"a": "b"} and config["Cmd"] == ["/both"]
    names = {event.name for event in told if isinstance(event, VertexEvent) and event.completed}
    assert {"put together", "exporting to image"} <= names
    assert any(event.data == "worked\n" for event in told if isinstance(event, LogEvent))
    assert [
        (event.filename, event.range.start) for event in told if isinstance(event, WarningEvent) and event.range
    ] == [("Dockerfile", 1)]


def test_failures_are_told_as_they_are(yard: Yard, context: Path, tmp_path: Path) -> None:
    async def step(bridge: Bridge, options: Options, seen: Context) -> Image:
        base = await seen.image("busybox")
        return Image.of(base.state.run("exit 7", name="fail", at=seen.file.place(2)), bridge.platform)

    target = tmp_path / "kept.tar"
    target.write_text("as it was")
    with pytest.raises(BridgeError) as caught:
        build(yard, step, context, outputs=[outside.Output("oci", file=str(target))])
    assert "exit code: 7" in str(caught.value)
    assert isinstance(caught.value.reason, SolveError)
    source = caught.value.reason.source
    assert source is not None
    assert (source.filename, source.start) == ("Dockerfile", 2)
    assert target.read_text() == "as it was"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["context", "kept.tar"]

    async def mistaken(bridge: Bridge, options: Options, seen: Context) -> Image:
        raise seen.file.place(2).error("second is wrong")

    with pytest.raises(FrontendError, match="second is wrong"):
        build(yard, mistaken, context)

    async def defective(bridge: Bridge, options: Options, seen: Context) -> Image:
        raise ZeroDivisionError("of its own")

    with pytest.raises(ZeroDivisionError):
        build(yard, defective, context)

    async def no_secret(bridge: Bridge, options: Options, seen: Context) -> Image:
        base = await seen.image("busybox")
        await bridge.solve(base.state.run("true", mounts=[secret("absent")]), evaluate=True)
        raise AssertionError

    with pytest.raises(BridgeError, match="absent"):
        build(yard, no_secret, context)
    with pytest.raises(UnavailableError, match="no daemon answers"):
        asyncio.run(outside.build(defective, address=f"unix://{tmp_path}/nobody.sock"))


def test_giving_up_ends_the_build(yard: Yard, context: Path) -> None:
    running = asyncio.Event()

    async def long(bridge: Bridge, options: Options, seen: Context) -> Image:
        base = await seen.image("busybox")
        await (await bridge.solve(base.state.run("echo begun; sleep 4321"))).evaluate()
        raise AssertionError

    async def go() -> None:
        def tell(event: Event) -> None:
            if isinstance(event, LogEvent):
                running.set()

        directories = {"context": str(context), "dockerfile": str(context)}
        task = asyncio.create_task(
            outside.build(long, address=f"unix://{yard.socket}", directories=directories, tell=tell)
        )
        await asyncio.wait_for(running.wait(), 60)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        async with asyncio.timeout(30):
            while _sleeps():  # noqa: ASYNC110 -- processes tell nobody
                await asyncio.sleep(0.02)

    asyncio.run(go())


def _sleeps() -> bool:
    for path in Path("/proc").iterdir():
        if path.name.isdigit():
            try:
                if b"4321" in (path / "cmdline").read_bytes().split(b"\0"):
                    return True
            except OSError:
                continue
    return False


def test_one_that_asks_the_built_in_frontend(yard: Yard, context: Path, tmp_path: Path) -> None:
    write_files(context, {"Dockerfile": "FROM scratch AS one\nCOPY data /one\nFROM scratch\nCOPY data /two\n"})

    async def forward(bridge: Bridge, options: Options, seen: Context) -> Any:
        return await bridge.frontend("dockerfile.v0", {**options.raw, "target": "one"})

    build(yard, forward, context, outputs=[outside.Output("local", directory=str(tmp_path / "out"))])
    assert (tmp_path / "out/one/f").read_text() == "1" and not (tmp_path / "out/two").exists()

    async def nobody(bridge: Bridge, options: Options, seen: Context) -> Any:
        return await bridge.frontend("nosuch.v0", {})

    with pytest.raises(BridgeError, match=r"nosuch\.v0"):
        build(yard, nobody, context)


def test_the_packages_frontend_runs_outside_as_well(yard: Yard, context: Path, tmp_path: Path) -> None:
    write_files(context, {"image.yaml": "base: busybox\nfiles: [{from: data/f, to: /f}, {text: t, to: /t}]\n"})
    out = tmp_path / "out"
    build(yard, packages, context, outputs=[outside.Output("local", directory=str(out))])
    assert (out / "f").read_text() == "1" and (out / "t").read_text() == "t"
    write_files(context, {"image.yaml": "base: busybox\nfiles: [{from: nosuch, to: /f}]\n"})
    with pytest.raises(FrontendError, match="no file 'nosuch'"):
        build(yard, packages, context)


def test_an_answer_makes_no_image(yard: Yard, context: Path) -> None:
    async def ask(bridge: Bridge, options: Options, seen: Context) -> Answer:
        return Answer({"lines": len(seen.file.text.splitlines())})

    async def never(bridge: Bridge, options: Options, seen: Context) -> Image:
        raise ConflictError("nobody builds")

    asked = Frontend(never, answers={"example.count": ask})
    build(yard, asked, context, options={"requestid": "example.count"})
    with pytest.raises(BoatyardError, match="doesn't answer"):
        build(yard, asked, context, options={"requestid": "example.other"})

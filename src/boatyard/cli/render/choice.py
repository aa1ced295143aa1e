"""Which renderer `--progress` means here."""

from __future__ import annotations

from boatyard.cli.console import Console
from boatyard.cli.render.renderer import Renderer
from boatyard.errors import InvalidError

MODES = ("auto", "tty", "plain", "rawjson", "quiet")


def renderer(console: Console, mode: str) -> Renderer:
    """`auto` is the live view on a terminal that can move its cursor, plain lines elsewhere."""
    if mode not in MODES:
        raise InvalidError(f"--progress: there is no {mode!r}", hint=f"there are: {', '.join(MODES)}")
    able = console.err_terminal and console.environment.get("TERM", "") not in ("", "dumb")
    if mode == "tty" and not able:
        raise InvalidError(
            "--progress=tty needs a terminal on standard error", hint="use --progress=plain, or leave it out"
        )
    if mode == "tty" or (mode == "auto" and able):
        from boatyard.cli.render.tty import TtyRenderer

        return TtyRenderer(console.err, console.err_style, console.size, details=console.debug)
    if mode in ("plain", "auto"):
        from boatyard.cli.render.plain import PlainRenderer

        return PlainRenderer(console.err, console.err_style, raw=not console.err_terminal, details=console.debug)
    if mode == "rawjson":
        from boatyard.cli.render.rawjson import RawJsonRenderer

        return RawJsonRenderer(console.err)
    from boatyard.cli.render.quiet import QuietRenderer

    return QuietRenderer()

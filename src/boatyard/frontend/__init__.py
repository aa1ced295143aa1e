"""Write a frontend: an async function that turns a request and the client's files into an image.

    from boatyard.frontend import Bridge, Context, Image, Options, copy

    async def frontend(bridge: Bridge, options: Options, context: Context) -> Image:
        base = await bridge.image("debian:bookworm-slim")
        state = base.state.run("apt-get update && apt-get install -y cowsay", at=context.file.place(1))
        state = state.file(copy(context.files("greeting"), "greeting", "/etc/greeting"))
        return Image.of(state, bridge.platform, base=base.config, command=["cat", "/etc/greeting"])

It may run inside of a builder (as an image, an entry point of an installed package, a file of the client's) or drive
one from outside. `docs/how-to/write-a-frontend.md` goes through it.
"""

from boatyard.errors import BoatyardError, FrontendError, InvalidError, NotFoundError, UnsupportedError
from boatyard.frontend.action import copy, make_directory, make_file, remove, symlink
from boatyard.frontend.answers import Access, Argument, Target, lint, outline, targets
from boatyard.frontend.bridge import BaseImage, Bridge
from boatyard.frontend.context import Context, NamedContext
from boatyard.frontend.execution import Execution
from boatyard.frontend.mount import bind, cache, secret, ssh, tmpfs
from boatyard.frontend.options import Options
from boatyard.frontend.place import Place, SourceFile
from boatyard.frontend.problem import BridgeError
from boatyard.frontend.program import Frontend
from boatyard.frontend.reference import Entry, Reference, Solution
from boatyard.frontend.result import Answer, Image, Result
from boatyard.frontend.source import git, http, image, local
from boatyard.frontend.state import State, difference, merge, scratch
from boatyard.image.platform import Platform
from boatyard.image.spec import ImageConfig
from boatyard.progress import WarningEvent

__all__ = [
    "Access",
    "Answer",
    "Argument",
    "BaseImage",
    "BoatyardError",
    "Bridge",
    "BridgeError",
    "Context",
    "Entry",
    "Execution",
    "Frontend",
    "FrontendError",
    "Image",
    "ImageConfig",
    "InvalidError",
    "NamedContext",
    "NotFoundError",
    "Options",
    "Place",
    "Platform",
    "Reference",
    "Result",
    "Solution",
    "SourceFile",
    "State",
    "Target",
    "UnsupportedError",
    "WarningEvent",
    "bind",
    "cache",
    "copy",
    "difference",
    "git",
    "http",
    "image",
    "lint",
    "local",
    "make_directory",
    "make_file",
    "merge",
    "outline",
    "remove",
    "scratch",
    "secret",
    "ssh",
    "symlink",
    "targets",
    "tmpfs",
]

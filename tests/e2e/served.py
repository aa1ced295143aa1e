"""Files and repositories over HTTP on the loopback, with what was asked for and how the server answered."""

from __future__ import annotations

import functools
import http.server
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Served:
    """`answers` are (path, status) in order; `authorizations` the headers of that name."""

    directory: Path
    url: str
    answers: list[tuple[str, int]] = field(default_factory=list)
    authorizations: list[str] = field(default_factory=list)

    def asked(self, path: str) -> list[int]:
        return [status for asked, status in self.answers if asked == path]


@contextmanager
def serve(directory: Path) -> Iterator[Served]:
    """Last-Modified and "not modified" come with the standard library's server."""
    directory.mkdir(parents=True, exist_ok=True)
    served = Served(directory, "")

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
            served.answers.append((self.path, int(code)))
            if value := self.headers.get("Authorization"):
                served.authorizations.append(value)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(directory)))
    served.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield served
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def git(directory: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=Test", "-c", "user.email=test@example.test", "-c", "protocol.file.allow=always"]
    return subprocess.run(
        ["git", *identity, *arguments], cwd=directory, check=True, capture_output=True, text=True
    ).stdout.strip()


def commit_all(directory: Path, message: str = "a change") -> str:
    """Make it a repository if it isn't one, and commit what is there; the commit."""
    if not (directory / ".git").exists():
        git(directory, "init", "-q", "-b", "main")
    git(directory, "add", "-A")
    git(directory, "commit", "-q", "-m", message)
    git(directory, "update-server-info")
    return git(directory, "rev-parse", "HEAD")

"""What a build needs of this client, served on a session: for daemons on other machines, which can be given no open
descriptors.

The session runs on a thread of its own and is loaded only when it is needed. Tokens are the names under which the
daemon asks for what was offered.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import logging
import os
import socket
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from boatyard.client import http1
from boatyard.client.documents.builds import Local
from boatyard.client.endpoint import Endpoint, lost, refused_certificate, unreachable
from boatyard.errors import BoatyardError, InvalidError, NotFoundError, StorageError, UnavailableError, UnsupportedError
from boatyard.progress import printable
from boatyard.registry.dockerconfig import DockerConfig
from boatyard.session.offered.auth import Auth
from boatyard.session.offered.content import Content, Layout
from boatyard.session.offered.filesend import Directory, File, FileSend
from boatyard.session.offered.filesync import FileSync
from boatyard.session.offered.login import Login
from boatyard.session.offered.secrets import Secrets
from boatyard.session.offered.server import Offered
from boatyard.session.offered.sshforward import SSH, Agent
from boatyard.session.offered.upload import Upload
from boatyard.wire.adopted import Adopted

log = logging.getLogger(__name__)

PATH = "/session"
TIMEOUT = 20.0
"""Seconds for the daemon to take the session."""
_PIECE = 1 << 18


class SessionChannel:
    """Satisfies `client.offering.Offering`. Owned by one program for one or several requests."""

    def __init__(self, endpoint: Endpoint, environ: Mapping[str, str]) -> None:
        """UnavailableError when the daemon can't be reached, or takes no sessions. `environ`: where docker's
        configuration is, for registries."""
        self._endpoint = endpoint
        self._directories: dict[str, str] = {}
        self._layouts: dict[str, Layout] = {}
        self._secrets: dict[str, Callable[[], bytes]] = {}
        self._agents: dict[str, Agent] = {}
        self._uploads: dict[str, int] = {}
        self._outputs: dict[int, File | Directory] = {}
        self._opened: list[int] = []
        self._environ = environ
        self._id = ""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._ready = threading.Event()
        self._failures: list[BaseException] = []
        self._thread = threading.Thread(target=self._run, name="session", daemon=True)
        self._thread.start()
        self._ready.wait()
        if self._failures:
            self._thread.join()
            raise self._failures[0]

    def __enter__(self) -> SessionChannel:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """The session ends, and what depends on it."""
        if self._loop is not None and self._stop is not None:
            try:
                self._loop.call_soon_threadsafe(self._stop.set)
            except RuntimeError:
                pass  # it has ended by itself
        self._thread.join()
        while self._opened:
            os.close(self._opened.pop())

    @property
    def session(self) -> str:
        return self._id

    def offer_directory(self, path: str) -> Local:
        descriptor = _opened(path)
        try:
            status = os.fstat(descriptor)
        finally:
            os.close(descriptor)
        real = os.path.realpath(path)
        # The same directory has the same name in the next build, so that only what has changed is sent.
        token = f"dir-{hashlib.sha256(os.fsencode(real)).hexdigest()[:32]}"
        self._directories[token] = real
        if os.path.isfile(f"{real}/oci-layout"):
            self._layouts[f"oci:{token}"] = Layout(Path(real))
        return Local(token=token, identity=f"{status.st_dev}:{status.st_ino}:{printable(real)}")

    def offer_file(self, path: str) -> str:
        token = _token()
        self._secrets[token] = lambda: _read(path)
        return token

    def offer_bytes(self, data: bytes) -> str:
        token = _token()
        self._secrets[token] = lambda: data
        return token

    def offer_agent(self, path: str) -> str:
        token = _token()
        self._agents[token] = Agent(path)
        return token

    def offer_upload(self, descriptor: int) -> str:
        token = _token()
        self._uploads[token] = self._kept(descriptor)
        return token

    def offer_output(self, descriptor: int) -> str:
        return self._output(File(self._kept(descriptor)))

    def offer_output_directory(self, path: str, *, exact: bool = False) -> str:
        try:
            os.makedirs(path, exist_ok=True)
        except OSError as error:
            raise StorageError(f"can't make the directory {path}: {error.strerror}") from error
        descriptor = _opened(path)
        self._opened.append(descriptor)
        return self._output(Directory(descriptor, exact))

    def offer_terminal(self) -> str:
        raise UnsupportedError(
            f"a terminal can't be handed to the daemon at {self._endpoint}, which is on another machine",
            hint="leave out --on-error=shell, or use a daemon of this machine",
        )

    def _output(self, target: File | Directory) -> str:
        number = len(self._outputs)
        self._outputs[number] = target
        return str(number)

    def _kept(self, descriptor: int) -> int:
        own = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 3)
        self._opened.append(own)
        return own

    # On the thread

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:
            if self._ready.is_set():
                log.debug("the session broke off", exc_info=True)  # the daemon tells what came of it
                return
            self._failures.append(error)
        finally:
            self._ready.set()

    async def _serve(self) -> None:
        self._stop = asyncio.Event()
        offered = Offered(
            [
                FileSync(self._directories),
                FileSend(self._outputs),
                Secrets(self._secrets),
                SSH(self._agents),
                Upload(self._uploads),
                Content(self._layouts),
                _auth(self._environ),
            ],
            name="boat",
            shared_key=_shared_key(),
        )
        ended = asyncio.Event()
        async with asyncio.timeout(TIMEOUT):
            # Held until the end: a writer that is collected closes its connection.
            writer = await self._connect(offered, ended.set)
        self._id = offered.announcement.id
        self._loop = asyncio.get_running_loop()
        self._ready.set()
        waiting = [asyncio.ensure_future(each.wait()) for each in (self._stop, ended)]
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for each in waiting:
            each.cancel()
        await offered.stop()
        writer.close()

    async def _connect(self, offered: Offered, on_lost: Callable[[], None]) -> asyncio.StreamWriter:
        try:
            reader, writer = await self._endpoint.open(_PIECE)
        except OSError as error:
            raise unreachable(self._endpoint, error) from error
        transport = writer.transport
        try:
            writer.write(http1.upgrade(PATH, "h2c", offered.announcement.headers()))
            head = await reader.readuntil(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 101 "):
                raise _refused(self._endpoint, head)
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
            transport.abort()
            raise UnavailableError(
                f"the daemon at {self._endpoint} broke off before it took the session",
                hint=refused_certificate(self._endpoint) or "is it a boatd?",
            ) from error
        except OSError as error:
            transport.abort()
            raise lost(self._endpoint, error) from error
        except BaseException:
            transport.abort()
            raise
        connection = offered.connection()
        transport.set_protocol(Adopted(connection, on_lost))
        # Nothing more goes to the reader, so what it has is all that came behind the head.
        reader.feed_eof()
        connection.connection_made(transport)
        if rest := await reader.read():
            connection.data_received(rest)
        return writer


def _auth(environ: Mapping[str, str]) -> Auth:
    config = DockerConfig.default(environ)

    def find(host: str) -> Login:
        found = config.get(host)
        if found is None:
            return Login()
        return Login(found.username, found.password, found.identity_token, found.registry_token)

    gives_tokens = environ.get("BUILDKIT_NO_CLIENT_TOKEN", "").lower() not in ("1", "t", "true")
    return Auth(find, config.path.parent, gives_tokens=gives_tokens)


def _refused(endpoint: Endpoint, head: bytes) -> BoatyardError:
    line = head.split(b"\r\n", 1)[0].decode("latin-1")
    return UnavailableError(
        f"the daemon at {endpoint} takes no session: it answered {line!r}",
        hint="is it a boatd, of the same version? `boat version` tells",
    )


def _opened(path: str) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise NotFoundError(f"{path} does not exist") from error
    except NotADirectoryError as error:
        raise InvalidError(f"{path} is not a directory") from error
    except OSError as error:
        raise StorageError(f"can't open {path}: {error.strerror}") from error


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise NotFoundError(f"can't read {path}: {error.strerror}") from error


def _token() -> str:
    return os.urandom(16).hex()


def _shared_key() -> str:
    """Of this user on this machine: to them, files that went to the daemon once may be shown again."""
    try:
        with open("/etc/machine-id", encoding="ascii") as file:
            machine = file.read().strip()
    except OSError:
        machine = socket.gethostname()
    return hashlib.sha256(f"boat:{machine}:{os.getuid()}".encode()).hexdigest()

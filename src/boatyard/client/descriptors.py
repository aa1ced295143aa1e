"""Open descriptors that travel beside a request, over the daemon's descriptor socket.

A packet is a JSON document with SCM_RIGHTS descriptors. Client to daemon: `Offer`, the descriptors wait at the daemon
until a request of the same user names the token. Daemon to client, on the same connection: `Delivery` (the master side
of a terminal), or `Refusal`. The socket is of type SEQPACKET, so a packet and its descriptors stay together.
"""

from __future__ import annotations

import os
import socket

import msgspec

from boatyard.client.documents.builds import Local
from boatyard.client.documents.envelope import ErrorDocument
from boatyard.client.endpoint import Endpoint, UnixEndpoint
from boatyard.client.failure import SEE_ITS_LOG, restore
from boatyard.client.places import DESCRIPTOR_SOCKET_NAME, beside
from boatyard.errors import InvalidError, NotFoundError, StorageError, UnavailableError, UnsupportedError
from boatyard.progress import printable

MAX_DESCRIPTORS = 16
"""In one offer."""
MAX_SECRET = 500 * 1024
_MAX_PACKET = 65536


class Offer(msgspec.Struct, frozen=True, tag="offer", forbid_unknown_fields=True):
    token: str


class Delivery(msgspec.Struct, frozen=True, tag="delivery"):
    token: str


class Refusal(msgspec.Struct, frozen=True, tag="refusal"):
    token: str
    error: ErrorDocument


_delivery = msgspec.json.Decoder(Delivery | Refusal)


def new_token() -> str:
    """Hard to guess: whoever knows it (and is the same user) can claim the descriptors."""
    return os.urandom(16).hex()


class DescriptorChannel:
    """A connection to the descriptor socket. It must stay open until the request that uses its tokens has ended: what
    nobody claimed is closed with it."""

    def __init__(self, daemon: Endpoint) -> None:
        """UnavailableError when the daemon takes no descriptors, UnsupportedError when it is on another machine."""
        if not isinstance(daemon, UnixEndpoint):
            raise UnsupportedError(
                f"this hands open files and terminals to the daemon, and the one at {daemon} is on another machine",
                hint="use a daemon of this machine: `boat` without --host and BOAT_HOST",
            )
        path = beside(daemon.path, DESCRIPTOR_SOCKET_NAME)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
        try:
            self._socket.connect(path)
        except OSError as error:
            self._socket.close()
            raise UnavailableError(
                f"can't hand files to the daemon through {path}: {error.strerror}",
                hint="is the daemon still running? `boat doctor` tells",
            ) from error

    def __enter__(self) -> DescriptorChannel:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._socket.close()

    def offer(self, *descriptors: int) -> str:
        """Hand over copies of the descriptors (up to MAX_DESCRIPTORS, perhaps none); the token that names them."""
        token = new_token()
        try:
            socket.send_fds(self._socket, [msgspec.json.encode(Offer(token))], list(descriptors))
        except OSError as error:
            raise UnavailableError(f"can't hand files to the daemon: {error.strerror}", hint=SEE_ITS_LOG) from error
        return token

    @property
    def session(self) -> str:
        """Tokens of descriptors are of no session."""
        return ""

    def offer_directory(self, path: str) -> Local:
        """NotFoundError, InvalidError (not a directory) or StorageError (unreadable) when it can't be opened."""
        descriptor = _open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            status = os.fstat(descriptor)
            identity = f"{status.st_dev}:{status.st_ino}:{printable(os.path.realpath(path))}"
            return Local(token=self.offer(descriptor), identity=identity)
        finally:
            os.close(descriptor)

    def offer_file(self, path: str) -> str:
        """For reading."""
        return self._offer_open(path, os.O_RDONLY)

    def offer_new_file(self, path: str) -> str:
        """For writing: created or emptied."""
        return self._offer_open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)

    def offer_upload(self, descriptor: int) -> str:
        return self.offer(descriptor)

    def offer_output(self, descriptor: int) -> str:
        return self.offer(descriptor)

    def offer_terminal(self) -> str:
        return self.offer()

    def offer_output_directory(self, path: str, *, exact: bool = False) -> str:
        """Made when missing, with its parents."""
        try:
            os.makedirs(path, exist_ok=True)
        except OSError as error:
            raise StorageError(f"can't make the directory {path}: {error.strerror}") from error
        return self._offer_open(path, os.O_RDONLY | os.O_DIRECTORY)

    def offer_bytes(self, data: bytes) -> str:
        """As an anonymous file in memory: the bytes never touch a disk."""
        descriptor = os.memfd_create("boat-secret", os.MFD_CLOEXEC)
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(descriptor, view) :]
            os.lseek(descriptor, 0, os.SEEK_SET)
            return self.offer(descriptor)
        finally:
            os.close(descriptor)

    def offer_agent(self, path: str) -> str:
        """The unix socket of an SSH agent."""
        return self._offer_open(path, os.O_PATH)

    def receive(self, token: str, timeout: float = 10.0) -> tuple[int, ...]:
        """The descriptors the daemon delivers for the offer `token`; the caller closes them."""
        self._socket.settimeout(timeout)
        try:
            packet, descriptors, _, _ = socket.recv_fds(
                self._socket, _MAX_PACKET, MAX_DESCRIPTORS, socket.MSG_CMSG_CLOEXEC
            )
        except TimeoutError as error:
            raise UnavailableError(
                f"the daemon delivered no terminal within {timeout:g} seconds", hint=SEE_ITS_LOG
            ) from error
        except OSError as error:
            raise UnavailableError(f"the daemon delivered no terminal: {error.strerror}", hint=SEE_ITS_LOG) from error
        try:
            return self._delivered(packet, token, descriptors)
        except BaseException:
            for descriptor in descriptors:
                os.close(descriptor)
            raise

    def _delivered(self, packet: bytes, token: str, descriptors: list[int]) -> tuple[int, ...]:
        if not packet:
            raise UnavailableError(
                "the daemon closed the descriptor socket before it delivered a terminal", hint=SEE_ITS_LOG
            )
        try:
            message = _delivery.decode(packet)
        except msgspec.DecodeError as error:
            raise UnavailableError(f"the daemon sent a malformed packet on the descriptor socket: {error}") from error
        if isinstance(message, Refusal):
            raise restore(message.error)
        if message.token != token:
            raise UnavailableError("the daemon delivered descriptors for another offer than the one waited for")
        return tuple(descriptors)

    def _offer_open(self, path: str, flags: int) -> str:
        descriptor = _open(path, flags)
        try:
            return self.offer(descriptor)
        finally:
            os.close(descriptor)


def _open(path: str, flags: int) -> int:
    try:
        return os.open(path, flags | os.O_CLOEXEC, 0o666)
    except FileNotFoundError as error:
        raise NotFoundError(f"{path} does not exist") from error
    except NotADirectoryError as error:
        raise InvalidError(f"{path} is not a directory") from error
    except IsADirectoryError as error:
        raise InvalidError(f"{path} is a directory, not a file") from error
    except OSError as error:
        raise StorageError(f"can't open {path}: {error.strerror}") from error

"""Requests and answers over pooled connections. What failed on the way is tried again where that is safe, with growing
pauses or after the time that the server asks for; what stalls ends with an error, and what is not wanted any more ends
at once.

Redirects are followed here: to other hosts without credentials, and never from TLS to plain HTTP.
"""

from __future__ import annotations

import email.utils
import logging
import random
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, cast
from urllib.parse import urljoin, urlsplit

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection

from boatyard import __version__
from boatyard.errors import CancelledBuildError, InvalidError, UnavailableError, UnsupportedError
from boatyard.image.interruption import Stop
from boatyard.registry.hosts import Endpoint, is_loopback
from boatyard.registry.request import Body, Request, shown

log = logging.getLogger(__name__)

USER_AGENT = f"boatyard/{__version__}"
CONNECT_TIMEOUT = 15.0
STALL_TIMEOUT = 60.0
"""Seconds without a byte."""
TRIES = 5
LONGEST_WAIT = 60.0
"""Seconds; a server that asks for more is not waited for."""
REPEATED = frozenset((408, 425, 429, 500, 502, 503, 504))
_REDIRECTS = frozenset((301, 302, 303, 307, 308))
_MOST_REDIRECTS = 10
_CONNECTIONS = 32


class Response:
    """An answer; its body is read by `read` or `stream`. Close it, best as a context."""

    def __init__(self, raw: urllib3.BaseHTTPResponse, url: str, watch: _Watch) -> None:
        self._raw = raw
        self._watch = watch
        self.url = url
        self.status = raw.status
        self.headers: Mapping[str, str] = raw.headers

    def __enter__(self) -> Response:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """A connection whose answer was read to its end is used again."""
        self._watch.end()
        if not self._raw.closed and self._raw.length_remaining == 0:
            # Nothing is there to be read; but to http.client an answer isn't over, and its connection not free, before
            # it was read.
            self._raw.drain_conn()
        if self._raw.closed:
            self._raw.release_conn()
        else:
            self._raw.close()

    def read(self, most: int) -> bytes:
        """The whole body. UnavailableError when it is longer than `most` bytes, or ends early."""
        data = bytearray()
        for piece in self.stream(min(most + 1, 1 << 16)):
            data += piece
            if len(data) > most:
                raise UnavailableError(f"{shown(self.url)} sends more than the {most} bytes that are sensible here")
        return bytes(data)

    def stream(self, size: int) -> Iterator[bytes]:
        """Its pieces, as they are on the wire: nothing is decoded."""
        try:
            while piece := self._raw.read(size, decode_content=False):
                yield piece
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            raise self._watch.explained(error, self.url) from _reason(error)

    @property
    def length(self) -> int | None:
        """Bytes of the body, where the server says."""
        text = self.headers.get("Content-Length", "")
        return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else None


class _UnreachableError(UnavailableError):
    """There isn't even a connection: trying again at once would hardly help."""


class Transport:
    """One per daemon or command. Thread-safe."""

    def __init__(
        self,
        *,
        connect_timeout: float = CONNECT_TIMEOUT,
        stall_timeout: float = STALL_TIMEOUT,
        tries: int = TRIES,
        pause: Callable[[int], float] = lambda number: random.uniform(0.5, 1) * 0.25 * 2**number,
        proxies: Callable[[str], str | None] = lambda url: None,
    ) -> None:
        """`pause`: seconds before try number 1, 2, ...; `proxies`: the proxy for a URL."""
        self._timeout = urllib3.Timeout(connect=connect_timeout, read=stall_timeout)
        self._tries = tries
        self._pause = pause
        self._proxies = proxies
        self._pools: dict[tuple[Endpoint | None, str | None], urllib3.PoolManager] = {}
        self._lock = threading.Lock()

    def send(self, endpoint: Endpoint, request: Request, stop: Stop) -> Response:
        """The answer, whatever its status, unless that may be better next time. UnavailableError."""
        number = 0
        while True:
            number += 1
            last = number >= self._tries or not request.repeatable
            try:
                response = self._once(endpoint, request, stop)
            except _UnreachableError:
                stop.check()
                raise
            except UnavailableError:
                stop.check()
                if last:
                    raise
                self._wait(self._pause(number), stop)
                continue
            if response.status not in REPEATED or last:
                return response
            wait = _retry_after(response.headers.get("Retry-After", ""))
            if wait is not None and wait > LONGEST_WAIT:
                return response
            response.close()
            log.info("%s answered %d; trying again", shown(request.url), response.status)
            self._wait(max(wait or 0, self._pause(number)), stop)

    def _wait(self, seconds: float, stop: Stop) -> None:
        stop.wait(seconds)
        stop.check()

    def _once(self, endpoint: Endpoint, request: Request, stop: Stop) -> Response:
        url = request.url
        headers = {"User-Agent": USER_AGENT, **request.headers, **request.secrets}
        method = request.method
        body = request.body
        origin = urlsplit(url)
        for _ in range(_MOST_REDIRECTS):
            target = urlsplit(url)
            same = (target.scheme, target.netloc) == (origin.scheme, origin.netloc)
            response = self._sent(endpoint if same else None, method, url, headers, body, request.length, stop)
            location = response.headers.get("Location", "")
            if response.status not in _REDIRECTS or not location or not request.redirected:
                return response
            response.close()
            url = urljoin(url, location)
            _check_redirect(target.scheme, url)
            there = urlsplit(url)
            if (there.scheme, there.netloc) != (target.scheme, target.netloc):
                headers = {name: value for name, value in headers.items() if name not in request.secrets}
            if response.status == 303:
                method, body = "GET", None
        raise UnavailableError(f"{shown(request.url)} leads from one place to another without end")

    def _sent(
        self,
        endpoint: Endpoint | None,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: Body | None,
        length: int | None,
        stop: Stop,
    ) -> Response:
        stream = body() if callable(body) else None
        sent = dict(headers)
        if stream is not None and length is not None:
            sent["Content-Length"] = str(length)
        watch = _Watch(stop)
        try:
            with watch.sending():
                raw = self._pool(endpoint, url).request(
                    method,
                    url,
                    headers=sent,
                    body=cast(Any, stream if stream is not None else body),
                    preload_content=False,
                    decode_content=False,
                    redirect=False,
                    retries=False,
                    timeout=self._timeout,
                )
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            watch.end()
            raise watch.explained(error, url) from _reason(error)
        except BaseException:
            watch.end()
            raise
        finally:
            if stream is not None:
                stream.close()
        return Response(raw, url, watch)

    def _pool(self, endpoint: Endpoint | None, url: str) -> urllib3.PoolManager:
        """`endpoint` None: a place that a registry named."""
        proxy = None if is_loopback(urlsplit(url).netloc) else self._proxies(url)
        with self._lock:
            pool = self._pools.get((endpoint, proxy))
            if pool is None:
                pool = self._pools[endpoint, proxy] = _pool(endpoint, proxy)
            return pool

    def close(self) -> None:
        with self._lock:
            for pool in self._pools.values():
                pool.clear()
            self._pools.clear()


class _Watch:
    """Cuts a request's connection when its `Stop` is set: a thread that waits for bytes looks at nothing else."""

    _here = threading.local()

    def __init__(self, stop: Stop) -> None:
        self._stop = stop
        self._connection: HTTPConnection | None = None
        self._lock = threading.Lock()
        self._forget = stop.when_set(self._cut)

    @contextmanager
    def sending(self) -> Iterator[None]:
        """The connection that this thread sends on is the watched one."""
        _Watch._here.watch = self
        try:
            yield
        finally:
            _Watch._here.watch = None

    @staticmethod
    def uses(connection: HTTPConnection) -> None:
        watch: _Watch | None = getattr(_Watch._here, "watch", None)
        if watch is not None:
            with watch._lock:
                watch._connection = connection
            watch._stop.check()

    def _cut(self) -> None:
        with self._lock:
            sock = self._connection.sock if self._connection is not None else None
            if sock is not None:
                try:
                    sock.shutdown(2)
                except OSError:
                    pass  # it ended by itself

    def end(self) -> None:
        self._forget()
        with self._lock:
            self._connection = None

    def explained(self, error: Exception, url: str) -> UnavailableError | CancelledBuildError:
        if self._stop.is_set():
            return CancelledBuildError("it is not wanted any more")
        return _unavailable(error, url)


class _Plain(HTTPConnection):
    def request(self, *arguments: Any, **options: Any) -> None:
        _Watch.uses(self)
        super().request(*arguments, **options)


class _Secure(HTTPSConnection):
    def request(self, *arguments: Any, **options: Any) -> None:
        _Watch.uses(self)
        super().request(*arguments, **options)


class _PlainPool(urllib3.HTTPConnectionPool):
    ConnectionCls = _Plain


class _SecurePool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _Secure


def _pool(endpoint: Endpoint | None, proxy: str | None) -> urllib3.PoolManager:
    context = _security(endpoint) if endpoint else ssl.create_default_context()
    options: dict[str, Any] = {"num_pools": 16, "maxsize": _CONNECTIONS, "ssl_context": context}
    pool = urllib3.ProxyManager(proxy, **options) if proxy else urllib3.PoolManager(**options)
    pool.pool_classes_by_scheme = {"http": _PlainPool, "https": _SecurePool}
    return pool


def _security(endpoint: Endpoint) -> ssl.SSLContext:
    """InvalidError names the file that is no good."""
    context = ssl.create_default_context()
    for file in endpoint.ca:
        with _reading(file, endpoint):
            context.load_verify_locations(file)
    # OpenSSL keeps one of each kind of key, the last that it is given.
    for certificate, key in reversed(endpoint.keypairs):
        with _reading(f"{certificate} and {key}", endpoint):
            context.load_cert_chain(certificate, key)
    if not endpoint.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


@contextmanager
def _reading(files: str, endpoint: Endpoint) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        # OpenSSL's own errors are such, too.
        raise InvalidError(
            f"can't use {files} for {endpoint.host}: {error.strerror or error}",
            hint="certificates and keys of registries are files in PEM form, named in the daemon's configuration",
        ) from error


def _check_redirect(scheme: str, url: str) -> None:
    target = urlsplit(url)
    if target.scheme not in ("http", "https") or not target.netloc:
        raise UnsupportedError(f"a registry leads to {shown(url)}, which is not followed")
    if scheme == "https" and target.scheme == "http":
        raise UnsupportedError(
            f"a registry leads from TLS to plain HTTP at {shown(url)}, which is not followed",
            hint="whoever runs it should serve its blobs over TLS",
        )


def _retry_after(text: str) -> float | None:
    """Seconds."""
    text = text.strip()
    if text.isascii() and text.isdigit() and len(text) < 10:
        return float(text)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time()) if text else None
    except (ValueError, TypeError, OverflowError):
        return None


def _reason(error: Exception) -> BaseException:
    """What is at the bottom of an error of urllib3, whose own words name its parts, not what went wrong."""
    reason: BaseException = error
    while isinstance(inner := getattr(reason, "reason", None) or reason.__cause__, BaseException):
        reason = inner
    return reason


def _unavailable(error: Exception, url: str) -> UnavailableError:
    host = urlsplit(url).netloc.rpartition("@")[2]
    reason = _reason(error)
    if isinstance(reason, ssl.SSLCertVerificationError):
        return UnavailableError(
            f"{host} shows a certificate that is not trusted: {reason.verify_message}",
            hint=f'name its CA in the daemon\'s configuration: registry."{host}".ca = ["FILE"]',
        )
    if isinstance(reason, ssl.SSLError) and "WRONG_VERSION_NUMBER" in str(reason):
        return UnavailableError(
            f"{host} doesn't speak TLS",
            hint=f'if it is to be used without, say so in the daemon\'s configuration: registry."{host}".http = true',
        )
    if isinstance(error, urllib3.exceptions.NewConnectionError | urllib3.exceptions.ConnectTimeoutError):
        text = getattr(reason, "strerror", None) or "no answer"
        return _UnreachableError(f"can't reach {host}: {text}", hint="is the name right, and is there a network?")
    if isinstance(error, urllib3.exceptions.TimeoutError):
        return UnavailableError(f"{host} has stopped answering in the middle of {shown(url)}")
    text = getattr(reason, "strerror", None) or str(reason) or type(reason).__name__
    return UnavailableError(f"the connection to {host} broke at {shown(url)}: {text}")

"""TLS for either end: certificates from files, in both directions where both have one.

Loads OpenSSL: only for those who listen on TCP, or talk to such.
"""

from __future__ import annotations

import logging
import ssl

from boatyard.errors import InvalidError

log = logging.getLogger(__name__)

_PROTOCOLS = ["http/1.1", "h2"]
"""In this order: gRPC clients offer h2 alone, and who offers both wants a web server's answers."""


def server_context(cert: str, key: str, ca: str) -> ssl.SSLContext:
    """Clients must have a certificate of `ca`, unless that is empty. InvalidError names the file that is no good."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _load(context, cert, key, ca)
    if ca:
        context.verify_mode = ssl.CERT_REQUIRED
    context.set_alpn_protocols(_PROTOCOLS)
    context.sslobject_class = _ServerEnd
    return context


class _ServerEnd(ssl.SSLObject):
    """asyncio tells nobody why a handshake failed."""

    def do_handshake(self) -> None:
        try:
            super().do_handshake()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except ssl.SSLError as error:
            log.info("a client is refused: %s", (error.reason or str(error)).replace("_", " ").lower())
            raise


def client_context(cert: str, key: str, ca: str) -> ssl.SSLContext:
    """Servers must have a certificate of `ca`, or of one that the system trusts where that is empty. Without `cert`,
    none is shown to them."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    _load(context, cert, key, ca)
    if not ca:
        context.load_default_certs()
    context.set_alpn_protocols(_PROTOCOLS[:1])
    return context


def _load(context: ssl.SSLContext, cert: str, key: str, ca: str) -> None:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    for path in filter(None, (cert, key, ca)):
        try:
            with open(path, "rb"):
                pass
        except OSError as error:
            raise InvalidError(f"can't read {path}: {error.strerror}") from error
    try:
        if cert:
            # The password of an encrypted key would be asked for at the terminal.
            context.load_cert_chain(cert, key, password=b"")
    except ssl.SSLError as error:
        why = "the key doesn't belong to the certificate" if error.reason == "KEY_VALUES_MISMATCH" else "no PEM file"
        raise InvalidError(f"can't use the certificate {cert} with the key {key}: {why} ({error.reason})") from error
    try:
        if ca:
            context.load_verify_locations(ca)
    except ssl.SSLError as error:
        raise InvalidError(f"{ca} holds no certificates ({error.reason})") from error

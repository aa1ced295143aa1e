"""Credentials as Docker's clients keep them: `config.json`, and the helper programs that it names.

    auths         by registry: a name and password in base64, or an identity token
    credHelpers   by registry: a program
    credsStore    a program for all others

Unknown keys are kept as they are. Specification: docker-credential-helpers' protocol.
"""

from __future__ import annotations

import base64
import binascii
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from boatyard.errors import InvalidError, NotFoundError, StorageError, UnavailableError
from boatyard.image.reference import DEFAULT_DOMAIN
from boatyard.registry.credential import Credential

HUB = "https://index.docker.io/v1/"
"""Docker Hub's key, from older days."""
_TOKEN_USER = "<token>"
_HELPER_TIMEOUT = 60
_MISSING = "credentials not found in native keychain"


class DockerConfig:
    """One configuration file. Read anew each time, since other programs write it, too. Implements
    `credential.Credentials`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @staticmethod
    def default(environ: Mapping[str, str]) -> DockerConfig:
        """$DOCKER_CONFIG/config.json, or ~/.docker/config.json."""
        directory = environ.get("DOCKER_CONFIG") or os.path.join(environ.get("HOME") or "/", ".docker")
        return DockerConfig(Path(directory, "config.json"))

    def get(self, host: str) -> Credential | None:
        document = self._read()
        helper = self._helper(document, host)
        if helper:
            return _asked(helper, key(host))
        auths = _table(document, "auths")
        for name in _spellings(host):
            entry = auths.get(name)
            if isinstance(entry, dict) and (found := _decoded(entry, self.path, name)):
                return found
        return None

    def hosts(self) -> list[str]:
        """Registries that there are credentials for, as far as the file itself tells."""
        document = self._read()
        names = {*_table(document, "auths"), *_table(document, "credHelpers")}
        return sorted({host_of(name) for name in names})

    def put(self, host: str, credential: Credential) -> str:
        """Keep credentials; where they are now, to tell the user."""
        document = self._read()
        name = key(host)
        helper = self._helper(document, host)
        auths = document.setdefault("auths", {})
        if helper:
            secret = credential.identity_token or credential.password
            username = _TOKEN_USER if credential.identity_token else credential.username
            _run(helper, "store", msgspec.json.encode({"ServerURL": name, "Username": username, "Secret": secret}))
            auths.setdefault(name, {})
            place = f"docker-credential-{helper}"
        else:
            pair = f"{credential.username}:{credential.password}".encode("utf-8", "surrogateescape")
            entry: dict[str, str] = {"auth": base64.b64encode(pair).decode()}
            if credential.identity_token:
                entry["identitytoken"] = credential.identity_token
            auths[name] = entry
            place = str(self.path)
        self._write(document)
        return place

    def remove(self, host: str) -> bool:
        """Whether there were any."""
        document = self._read()
        helper = self._helper(document, host)
        found = False
        if helper and _asked(helper, key(host)) is not None:
            _run(helper, "erase", key(host).encode())
            found = True
        auths = _table(document, "auths")
        for name in _spellings(host):
            found = auths.pop(name, None) is not None or found
        if found:
            self._write(document)
        return found

    def _helper(self, document: Mapping[str, Any], host: str) -> str:
        helpers = _table(document, "credHelpers")
        for name in _spellings(host):
            if isinstance(helpers.get(name), str):
                return str(helpers[name])
        store = document.get("credsStore", "")
        return store if isinstance(store, str) else ""

    def _read(self) -> dict[str, Any]:
        try:
            data = self.path.read_bytes()
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise StorageError(f"can't read {self.path}: {error.strerror}") from error
        if not data.strip():
            return {}
        try:
            found = msgspec.json.decode(data)
        except msgspec.MsgspecError as error:
            raise InvalidError(f"{self.path} is no JSON: {error}", hint="mend it, or move it away") from error
        if not isinstance(found, dict):
            raise InvalidError(f"{self.path} holds no JSON object", hint="mend it, or move it away")
        return found

    def _write(self, document: Mapping[str, Any]) -> None:
        """Whole or not at all, and for its owner only. A link stays one."""
        target = Path(os.path.realpath(self.path))
        temporary = target.with_name(f".{target.name}.{os.urandom(6).hex()}")
        try:
            target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with open(descriptor, "wb") as file:
                file.write(msgspec.json.format(msgspec.json.encode(document), indent=4) + b"\n")
            os.replace(temporary, target)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise StorageError(f"can't write {self.path}: {error.strerror}") from error


def key(host: str) -> str:
    """Under which name a registry's credentials are kept."""
    return HUB if host in (DEFAULT_DOMAIN, "index.docker.io", "registry-1.docker.io") else host


def host_of(name: str) -> str:
    """The registry of a key, which may be a URL."""
    host = name.partition("://")[2] if "://" in name else name
    host = host.partition("/")[0]
    return DEFAULT_DOMAIN if host in ("index.docker.io", "registry-1.docker.io") else host


def _spellings(host: str) -> tuple[str, ...]:
    name = key(host)
    if name == HUB:
        return (HUB, "https://index.docker.io/v1", "index.docker.io", DEFAULT_DOMAIN, "https://docker.io")
    return (name, f"https://{name}", f"https://{name}/", f"http://{name}", f"https://{name}/v1/", f"https://{name}/v2/")


def _table(document: Mapping[str, Any], name: str) -> dict[str, Any]:
    found = document.get(name)
    return found if isinstance(found, dict) else {}


def _decoded(entry: Mapping[str, Any], path: Path, name: str) -> Credential | None:
    username, password = entry.get("username", ""), entry.get("password", "")
    if auth := entry.get("auth"):
        try:
            username, _, password = base64.b64decode(auth, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError, TypeError) as error:
            raise InvalidError(
                f"{path} has credentials for {name} that can't be read", hint=f"boat login {host_of(name)}"
            ) from error
        password = password.rstrip("\0")
    found = Credential(
        str(username), str(password), str(entry.get("identitytoken", "")), str(entry.get("registrytoken", ""))
    )
    return found if found != Credential() else None


def _asked(helper: str, name: str) -> Credential | None:
    try:
        answer = msgspec.json.decode(_run(helper, "get", name.encode()))
        username, secret = str(answer["Username"]), str(answer["Secret"])
    except NotFoundError:
        return None
    except (msgspec.MsgspecError, KeyError, TypeError) as error:
        raise UnavailableError(f"docker-credential-{helper} answers something else than credentials") from error
    return Credential(identity_token=secret) if username == _TOKEN_USER else Credential(username, secret)


def _run(helper: str, action: str, given: bytes) -> bytes:
    name = f"docker-credential-{helper}"
    if "/" in helper or shutil.which(name) is None:
        raise UnavailableError(
            f"the credential helper {name} is not installed", hint="install it, or take it out of Docker's config.json"
        )
    try:
        done = subprocess.run([name, action], input=given, capture_output=True, timeout=_HELPER_TIMEOUT, check=False)
    except subprocess.TimeoutExpired as error:
        raise UnavailableError(f"{name} doesn't answer") from error
    except OSError as error:
        raise UnavailableError(f"can't run {name}: {error.strerror}") from error
    if done.returncode:
        said = (done.stdout or done.stderr).decode(errors="replace").strip()
        if _MISSING in said:
            raise NotFoundError(said)
        raise UnavailableError(f"{name} failed: {said[:300]}")
    return done.stdout

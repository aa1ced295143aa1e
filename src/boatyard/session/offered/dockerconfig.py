"""Registry credentials as docker keeps them: in `config.json`, or with helper programs that it names.

Specification: the Docker documentation, "docker login"; docker/docker-credential-helpers.
"""

from __future__ import annotations

import base64
import binascii
import subprocess
from collections.abc import Mapping
from pathlib import Path

import msgspec

from boatyard.errors import DeniedError, InvalidError

HUB = "registry-1.docker.io"
_HUB_KEY = "https://index.docker.io/v1/"
_HUB_NAMES = ("docker.io", "index.docker.io", HUB)
_TIMEOUT = 60.0
_TOKEN_USER = "<token>"
_NOT_FOUND = "credentials not found"


class Login(msgspec.Struct, frozen=True):
    """What is known for one registry; all empty when nothing is."""

    username: str = ""
    password: str = ""
    identity_token: str = ""
    registry_token: str = ""

    @property
    def secret(self) -> str:
        return self.identity_token or self.password

    @property
    def user(self) -> str:
        """An identity token comes without one."""
        return "" if self.identity_token else self.username


class _Auth(msgspec.Struct, frozen=True):
    auth: str = ""
    username: str = ""
    password: str = ""
    identitytoken: str = ""
    registrytoken: str = ""


class _Config(msgspec.Struct, frozen=True):
    auths: dict[str, _Auth] = {}
    credsStore: str = ""  # noqa: N815
    credHelpers: dict[str, str] = {}  # noqa: N815


class _Answer(msgspec.Struct, frozen=True, rename="pascal"):
    username: str = ""
    secret: str = ""


def config_directory(environ: Mapping[str, str]) -> Path:
    return Path(environ.get("DOCKER_CONFIG") or Path(environ.get("HOME", "/")) / ".docker")


class DockerConfig:
    """Read anew for each question: people log in while programs run. `environ`: as the helper programs see it."""

    def __init__(self, directory: Path, environ: Mapping[str, str]) -> None:
        self._path = directory / "config.json"
        self._environ = environ

    def login(self, host: str) -> Login:
        """InvalidError when the file is damaged, DeniedError when a helper fails. Blocks."""
        config = self._read()
        key = _HUB_KEY if host in _HUB_NAMES else host
        helper = config.credHelpers.get(key) or config.credHelpers.get(host) or config.credsStore
        if helper:
            return self._ask(helper, key)
        found = config.auths.get(key)
        if found is None:
            names = _HUB_NAMES if key == _HUB_KEY else (host,)
            found = next((auth for name, auth in config.auths.items() if _hostname(name) in names), None)
        return _login(found, host) if found is not None else Login()

    def _read(self) -> _Config:
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=_Config)
        except (FileNotFoundError, NotADirectoryError):
            return _Config()
        except OSError as error:
            raise InvalidError(f"can't read {self._path}: {error.strerror}") from error
        except msgspec.DecodeError as error:
            raise InvalidError(f"{self._path} is damaged: {error}", hint="correct it, or log in again") from error

    def _ask(self, helper: str, key: str) -> Login:
        program = f"docker-credential-{helper}"
        if "/" in helper:
            raise InvalidError(f"{self._path} names a credential helper with a path: {helper!r}")
        try:
            done = subprocess.run(
                [program, "get"],
                input=key.encode(),
                capture_output=True,
                timeout=_TIMEOUT,
                env=dict(self._environ),
                check=False,
            )
        except FileNotFoundError as error:
            raise DeniedError(
                f"the credential helper {program}, which {self._path} names, is not installed",
                hint="install it, or remove it from that file",
            ) from error
        except subprocess.TimeoutExpired as error:
            raise DeniedError(f"the credential helper {program} did not answer in {_TIMEOUT:g} seconds") from error
        text = done.stdout.decode("utf-8", "replace").strip()
        if done.returncode:
            if _NOT_FOUND in text.lower():
                return Login()
            why = text or done.stderr.decode("utf-8", "replace").strip()
            raise DeniedError(f"the credential helper {program} failed for {key}: {why[:500]}")
        try:
            answer = msgspec.json.decode(done.stdout, type=_Answer)
        except msgspec.DecodeError as error:
            raise DeniedError(f"the credential helper {program} answered with something else: {error}") from error
        if answer.username == _TOKEN_USER:
            return Login(identity_token=answer.secret)
        return Login(username=answer.username, password=answer.secret)


def _login(auth: _Auth, host: str) -> Login:
    username, password = auth.username, auth.password
    if auth.auth:
        try:
            decoded = base64.b64decode(auth.auth, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError) as error:
            raise InvalidError(f"the credentials for {host} in docker's config.json are damaged: {error}") from error
        username, _, password = decoded.partition(":")
    return Login(username, password.strip("\0"), auth.identitytoken, auth.registrytoken)


def _hostname(key: str) -> str:
    """Keys of old are URLs."""
    return key.removeprefix("https://").removeprefix("http://").partition("/")[0]

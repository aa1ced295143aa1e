"""Registry credentials: docker's configuration, tokens, and the proof that two clients have the same password."""

from __future__ import annotations

import base64
import http.server
import json
import os
import threading
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

import pytest

from boatyard.errors import DeniedError, InvalidError, UnavailableError
from boatyard.session import auth
from boatyard.session.auth import Credentials
from boatyard.session.offered.auth import Auth
from boatyard.session.offered.dockerconfig import HUB, DockerConfig, Login
from fixtures.sessionpair import linked

SALT = b"of this daemon"


def configured(tmp_path: Path, config: object) -> dict[str, str]:
    """An environment in which docker's configuration is this."""
    directory = tmp_path / "docker"
    directory.mkdir(exist_ok=True)
    (directory / "config.json").write_text(config if isinstance(config, str) else json.dumps(config))
    return {"DOCKER_CONFIG": str(directory), "PATH": f"{tmp_path}/bin:{os.environ['PATH']}"}


def basic(pair: str) -> dict[str, str]:
    return {"auth": base64.b64encode(pair.encode()).decode()}


def login(environ: dict[str, str], host: str) -> Login:
    return DockerConfig(Path(environ["DOCKER_CONFIG"]), environ).login(host)


# -- docker's configuration ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("auths", "host", "expected"),
    [
        ({"r.example": basic("me:pass:word")}, "r.example", Login("me", "pass:word")),
        ({"https://r.example/v2/": basic("me:secret")}, "r.example", Login("me", "secret")),
        ({"r.example": {"username": "me", "password": "secret"}}, "r.example", Login("me", "secret")),
        ({"r.example": {"identitytoken": "token"}}, "r.example", Login(identity_token="token")),
        ({"r.example": {"registrytoken": "token"}}, "r.example", Login(registry_token="token")),
        ({"https://index.docker.io/v1/": basic("me:secret")}, HUB, Login("me", "secret")),
        ({"docker.io": basic("me:secret")}, HUB, Login("me", "secret")),
        ({"r.example": basic("me:secret")}, "other.example", Login()),
        ({}, "r.example", Login()),
    ],
)
def test_logins_are_found_as_docker_finds_them(
    tmp_path: Path, auths: dict[str, object], host: str, expected: Login
) -> None:
    assert login(configured(tmp_path, {"auths": auths, "HttpHeaders": {}}), host) == expected


def test_without_a_configuration_there_are_no_logins(tmp_path: Path) -> None:
    assert login({"DOCKER_CONFIG": str(tmp_path / "none")}, "r.example") == Login()


@pytest.mark.parametrize("config", ["{", '{"auths": []}', '{"auths": {"r.example": {"auth": "%%%"}}}'])
def test_a_damaged_configuration_is_told(tmp_path: Path, config: str) -> None:
    with pytest.raises(InvalidError, match="damaged"):
        login(configured(tmp_path, config), "r.example")


def helper(tmp_path: Path, name: str, script: str) -> None:
    (tmp_path / "bin").mkdir(exist_ok=True)
    path = tmp_path / "bin" / f"docker-credential-{name}"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def test_credential_helpers_are_asked(tmp_path: Path) -> None:
    helper(tmp_path, "one", """[ "$1" = get ] && read host; echo '{"Username":"me","Secret":"'$host'"}'""")
    helper(tmp_path, "two", """echo '{"ServerURL":"x","Username":"<token>","Secret":"identity"}'""")
    helper(tmp_path, "none", "echo credentials not found in native keychain; exit 1")
    helper(tmp_path, "broken", "echo it is locked; exit 1")
    environ = configured(
        tmp_path,
        {
            "auths": {"other.example": basic("never:used")},
            "credsStore": "one",
            "credHelpers": {"two.example": "two", "none.example": "none", "broken.example": "broken", "x.example": "x"},
        },
    )
    assert login(environ, "other.example") == Login("me", "other.example")
    assert login(environ, HUB) == Login("me", "https://index.docker.io/v1/")
    assert login(environ, "two.example") == Login(identity_token="identity")
    assert login(environ, "none.example") == Login()
    with pytest.raises(DeniedError, match=r"docker-credential-broken failed for broken.example: it is locked"):
        login(environ, "broken.example")
    with pytest.raises(DeniedError, match=r"docker-credential-x, which .* names, is not installed"):
        login(environ, "x.example")


# -- through a session -----------------------------------------------------------------------------------------------


async def test_credentials_come_through_the_session(tmp_path: Path) -> None:
    environ = configured(tmp_path, {"auths": {"r.example": basic("me:secret"), "t.example": {"identitytoken": "i"}}})
    async with linked([Auth(environ)]) as session:
        assert await auth.credentials(session, "r.example") == Credentials("me", "secret")
        assert await auth.credentials(session, "t.example") == Credentials("", "i")
        assert await auth.credentials(session, "other.example") is None
    async with linked([]) as session:
        assert await auth.credentials(session, "r.example") is None
        assert not auth.fetches_tokens(session)


async def test_clients_with_the_same_password_have_the_same_authority(tmp_path: Path) -> None:
    environ = configured(tmp_path, {"auths": {"r.example": basic("me:secret")}})
    async with linked([Auth(environ)]) as one, linked([Auth(environ)]) as two:
        key = await auth.token_authority(one, "r.example", SALT)
        assert key is not None
        assert await auth.token_authority(two, "r.example", SALT) == key
        assert await auth.token_authority(two, "r.example", b"another daemon") != key
        assert await auth.verify_token_authority(two, "r.example", key, SALT)
        assert not await auth.verify_token_authority(two, "other.example", key, SALT)
    assert (tmp_path / "docker" / ".token_seed").stat().st_mode & 0o777 == 0o600


async def test_another_user_does_not_have_it(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    config = {"auths": {"r.example": basic("me:secret")}}
    mine, other = configured(tmp_path, config), configured(tmp_path / "other", config)
    async with linked([Auth(mine)]) as one, linked([Auth(other)]) as two, linked([]) as nobody:
        key = await auth.token_authority(one, "r.example", SALT)
        assert key is not None
        assert not await auth.verify_token_authority(two, "r.example", key, SALT)
        assert not await auth.verify_token_authority(nobody, "r.example", key, SALT)


async def test_a_client_that_wants_no_tokens_has_no_authority(tmp_path: Path) -> None:
    environ = {**configured(tmp_path, {}), "BUILDKIT_NO_CLIENT_TOKEN": "1"}
    async with linked([Auth(environ)]) as session:
        assert await auth.token_authority(session, "r.example", SALT) is None


# -- tokens ----------------------------------------------------------------------------------------------------------


class TokenService(http.server.BaseHTTPRequestHandler):
    oauth = True

    def do_POST(self) -> None:
        form = urllib.parse.parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        if not self.oauth:
            self.send_error(405)
        elif form.get("password") == ["secret"] or form.get("refresh_token") == ["identity"]:
            self._answer({"access_token": f"oauth {form['scope'][0]}", "expires_in": 300})
        else:
            self.send_error(401)

    def do_GET(self) -> None:
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)
        wanted = f"Basic {base64.b64encode(b'me:secret').decode()}"
        if self.headers.get("Authorization") not in (None, wanted):
            self.send_error(401)
            return
        who = "me" if self.headers.get("Authorization") else "anybody"
        self._answer({"token": f"{who} {query['scope'][0]}", "issued_at": "2024-01-01T00:00:00Z"})

    def _answer(self, document: object) -> None:
        body = json.dumps(document).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(params=[True, False], ids=["oauth", "plain"])
def realm(request: pytest.FixtureRequest) -> Iterator[tuple[str, bool]]:
    handler = type("Handler", (TokenService,), {"oauth": request.param})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/token", request.param
        server.shutdown()


async def test_tokens_are_fetched_by_the_client(tmp_path: Path, realm: tuple[str, bool]) -> None:
    url, oauth = realm
    environ = configured(
        tmp_path,
        {
            "auths": {
                "r.example": basic("me:secret"),
                "wrong.example": basic("me:wrong"),
                "static.example": {"registrytoken": "given"},
            }
        },
    )
    async with linked([Auth(environ)]) as session:

        async def token(host: str, realm: str = url) -> auth.Token:
            return await auth.fetch_token(session, host, realm=realm, service="r", scopes=["repository:a:pull"])

        assert auth.fetches_tokens(session)
        mine = await token("r.example")
        assert mine.token == ("oauth repository:a:pull" if oauth else "me repository:a:pull")
        assert mine.expires_in == (300 if oauth else 60)
        anonymous = await token("other.example")
        assert (anonymous.token, anonymous.issued_at) == ("anybody repository:a:pull", 1704067200)
        assert (await token("static.example")).token == "given"
        with pytest.raises(DeniedError, match="gives no token: status 401"):
            await token("wrong.example")
        with pytest.raises(UnavailableError, match="can't be asked"):
            await token("other.example", "http://127.0.0.1:1/")
        with pytest.raises(InvalidError, match="no http address"):
            await token("other.example", "file:///etc/passwd")

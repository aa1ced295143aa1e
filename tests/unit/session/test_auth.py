"""Registry credentials: tokens, and the proof that two clients have the same password."""

from __future__ import annotations

import base64
import http.server
import json
import threading
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

import pytest

from boatyard.errors import DeniedError, InvalidError, UnavailableError
from boatyard.session import auth
from boatyard.session.auth import Credentials
from boatyard.session.offered.auth import Auth
from boatyard.session.offered.login import Login
from fixtures.sessionpair import linked

SALT = b"of this daemon"


def auth_of(directory: Path, logins: dict[str, Login], *, gives_tokens: bool = True) -> Auth:
    return Auth(lambda host: logins.get(host, Login()), directory, gives_tokens=gives_tokens)


MINE = {"r.example": Login("me", "secret")}


# -- through a session -----------------------------------------------------------------------------------------------


async def test_credentials_come_through_the_session(tmp_path: Path) -> None:
    logins = {**MINE, "t.example": Login(identity_token="i")}
    async with linked([auth_of(tmp_path, logins)]) as session:
        assert await auth.credentials(session, "r.example") == Credentials("me", "secret")
        assert await auth.credentials(session, "t.example") == Credentials("", "i")
        assert await auth.credentials(session, "other.example") is None
    async with linked([]) as session:
        assert await auth.credentials(session, "r.example") is None
        assert not auth.fetches_tokens(session)


async def test_clients_with_the_same_password_have_the_same_authority(tmp_path: Path) -> None:
    async with linked([auth_of(tmp_path, MINE)]) as one, linked([auth_of(tmp_path, MINE)]) as two:
        key = await auth.token_authority(one, "r.example", SALT)
        assert key is not None
        assert await auth.token_authority(two, "r.example", SALT) == key
        assert await auth.token_authority(two, "r.example", b"another daemon") != key
        assert await auth.verify_token_authority(two, "r.example", key, SALT)
        assert not await auth.verify_token_authority(two, "other.example", key, SALT)
    assert (tmp_path / ".token_seed").stat().st_mode & 0o777 == 0o600


async def test_another_user_does_not_have_it(tmp_path: Path) -> None:
    mine, other = auth_of(tmp_path / "mine", MINE), auth_of(tmp_path / "other", MINE)
    async with linked([mine]) as one, linked([other]) as two, linked([]) as nobody:
        key = await auth.token_authority(one, "r.example", SALT)
        assert key is not None
        assert not await auth.verify_token_authority(two, "r.example", key, SALT)
        assert not await auth.verify_token_authority(nobody, "r.example", key, SALT)


async def test_a_client_that_wants_no_tokens_has_no_authority(tmp_path: Path) -> None:
    async with linked([auth_of(tmp_path, MINE, gives_tokens=False)]) as session:
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
    logins = {
        **MINE,
        "wrong.example": Login("me", "wrong"),
        "static.example": Login(registry_token="given"),
        "identity.example": Login(identity_token="identity"),
    }
    async with linked([auth_of(tmp_path, logins)]) as session:

        async def token(host: str, realm: str = url) -> auth.Token:
            return await auth.fetch_token(session, host, realm=realm, service="r", scopes=["repository:a:pull"])

        assert auth.fetches_tokens(session)
        mine = await token("r.example")
        assert mine.token == ("oauth repository:a:pull" if oauth else "me repository:a:pull")
        assert mine.expires_in == (300 if oauth else 60)
        anonymous = await token("other.example")
        assert (anonymous.token, anonymous.issued_at) == ("anybody repository:a:pull", 1704067200)
        assert (await token("static.example")).token == "given"
        if oauth:
            assert (await token("identity.example")).token == "oauth repository:a:pull"
        with pytest.raises(DeniedError, match="gives no token: status 401"):
            await token("wrong.example")
        with pytest.raises(UnavailableError, match="can't be asked"):
            await token("other.example", "http://127.0.0.1:1/")
        with pytest.raises(InvalidError, match="no http address"):
            await token("other.example", "file:///etc/passwd")

"""The registry server: who may do what; tokens, second factors, rates, metrics, browsing."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from boatyard.errors import ConflictError, DeniedError, InvalidError, NotFoundError
from boatyard.image import reference as references
from boatyard.image.interruption import Stop
from boatyard.registry.credential import Credential
from boatyard.registry.hosts import Hosts
from boatyard.registry.repository import Registries
from boatyard.registry.server import jwt, totp
from boatyard.registry.server.accounts import Accounts
from boatyard.registry.server.grants import EVERYTHING, Scope, narrowed, parse_grant, parse_scopes
from boatyard.registry.server.jwt import Claims, Signer
from boatyard.registry.server.rates import Rates
from boatyard.registry.tokens import Tokens
from boatyard.registry.transport import Transport
from fixtures.registryserver import Answer, Served, serving

PASSWORD = "ships in bottles"


@dataclass
class Harbour:
    """A guarded server whose clock is ours. `anna` may everything, `ben` may pull and push team/*."""

    server: Served
    now: list[float]

    @property
    def accounts(self) -> Accounts:
        assert self.server.registry is not None
        return self.server.registry.accounts

    def ask_token(self, user: str = "", password: str = PASSWORD, *scopes: str, service: str = "") -> Answer:
        headers = {"Authorization": basic(user, password)} if user else {}
        query = urlencode([*(("scope", scope) for scope in scopes), *([("service", service)] if service else [])])
        return self.server.call("GET", f"/token?{query}", **headers)

    def token(self, user: str, *scopes: str, password: str = PASSWORD) -> str:
        answer = self.ask_token(user, password, *scopes)
        assert answer.status == 200, answer
        return str(answer.json()["token"])

    def with_token(self, method: str, path: str, token: str, body: Any = None) -> Answer:
        return self.server.call(method, path, body, Authorization=f"Bearer {token}")


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


@pytest.fixture
def harbour(tmp_path: Path) -> Iterator[Harbour]:
    yield from guarded(tmp_path / "root")


@pytest.fixture
def public(tmp_path: Path) -> Iterator[Harbour]:
    yield from guarded(tmp_path / "root", anonymous_pull=True)


def guarded(root: Path, **settings: Any) -> Iterator[Harbour]:
    now = [1.7e9]
    with serving(root, clock=lambda: now[0]) as server:
        digest = server.push_image("team/app", "v1")
        server.push_image("other/app", "v1")
        assert digest
    with serving(root, clock=lambda: now[0], auth=True, password_cost=16, **settings) as server:
        harbour = Harbour(server, now)
        harbour.accounts.add("anna", PASSWORD, EVERYTHING)
        harbour.accounts.add("ben", PASSWORD, (parse_grant("team/*=pull,push"),))
        yield harbour


# The token protocol


def test_who_says_nothing_is_told_where_tokens_are(harbour: Harbour) -> None:
    answer = harbour.server.call("GET", "/v2/team/app/manifests/v1")
    assert (answer.status, answer.codes) == (401, ["UNAUTHORIZED"])
    realm = f"http://127.0.0.1:{harbour.server.port}/token"
    expected = f'Bearer realm="{realm}",service="boatyard-registry",scope="repository:team/app:pull"'
    assert answer.headers["www-authenticate"] == expected
    # Without details Docker would try again, for a minute.
    (error,) = answer.json()["errors"]
    assert error["detail"] == [{"Type": "repository", "Class": "", "Name": "team/app", "Action": "pull"}]
    answer = harbour.server.call("GET", "/v2/")
    assert answer.headers["www-authenticate"] == f'Bearer realm="{realm}",service="boatyard-registry"'
    answer = harbour.server.call("POST", "/v2/team/app/blobs/uploads/")
    assert 'scope="repository:team/app:pull,push"' in answer.headers["www-authenticate"]
    answer = harbour.server.call("GET", "/v2/_catalog")
    assert 'scope="registry:catalog:*"' in answer.headers["www-authenticate"]


def test_a_token_gives_what_its_user_may_of_what_was_asked_for(harbour: Harbour) -> None:
    token = harbour.token("ben", "repository:team/app:pull,push,delete", "repository:other/app:pull")
    assert harbour.with_token("GET", "/v2/team/app/manifests/v1", token).status == 200
    answer = harbour.with_token("DELETE", "/v2/team/app/manifests/v1", token)
    assert (answer.status, answer.codes) == (401, ["DENIED"])
    assert 'error="insufficient_scope"' in answer.headers["www-authenticate"]
    assert harbour.with_token("GET", "/v2/other/app/manifests/v1", token).status == 401
    assert harbour.with_token("GET", "/v2/_catalog", harbour.token("ben", "registry:catalog:*")).status == 401
    assert harbour.with_token("GET", "/v2/_catalog", harbour.token("anna", "registry:catalog:*")).status == 200


def test_a_token_says_how_long_it_is_good_for_and_ends_then(harbour: Harbour) -> None:
    answer = harbour.ask_token("anna", PASSWORD, "repository:team/app:pull").json()
    assert answer["expires_in"] == 300 and answer["issued_at"] == "2023-11-14T22:13:20Z"
    assert answer["access_token"] == answer["token"]
    harbour.now[0] += 299
    assert harbour.with_token("GET", "/v2/team/app/manifests/v1", answer["token"]).status == 200
    harbour.now[0] += 1
    answer = harbour.with_token("GET", "/v2/team/app/manifests/v1", answer["token"])
    assert answer.status == 401 and 'error="invalid_token"' in answer.headers["www-authenticate"]


def test_a_password_is_given_in_oauths_form_too(harbour: Harbour) -> None:
    form = {"grant_type": "password", "username": "ben", "password": PASSWORD, "scope": "repository:team/app:pull"}
    kind = "application/x-www-form-urlencoded"
    answer = harbour.server.call("POST", "/token", urlencode(form), Content_Type=kind)
    assert harbour.with_token("GET", "/v2/team/app/manifests/v1", answer.json()["access_token"]).status == 200
    for change in ({"password": "wrong"}, {"grant_type": "refresh_token"}, {"service": "other"}):
        assert harbour.server.call("POST", "/token", urlencode(form | change), Content_Type=kind).status in (400, 401)


@pytest.mark.parametrize(("user", "password"), [("ben", "wrong"), ("nobody", PASSWORD), ("ben", ""), ("", "")])
def test_wrong_credentials_get_no_token(harbour: Harbour, user: str, password: str) -> None:
    answer = harbour.ask_token(user, password, "repository:team/app:pull")
    assert (answer.status, answer.codes) == (401, ["UNAUTHORIZED"])
    assert answer.headers["www-authenticate"].startswith("Basic ")


@pytest.mark.parametrize(
    "header", ["Basic x", "Basic !!!", "Basic YW5uYQ==", "Bearer ", "Bearer a.b.c", "Bearer x", "Nonsense"]
)
def test_malformed_credentials_are_refused(harbour: Harbour, header: str) -> None:
    assert harbour.server.call("GET", "/v2/", Authorization=header).status == 401


def test_a_token_for_another_service_is_not_made(harbour: Harbour) -> None:
    assert harbour.ask_token("anna", PASSWORD, service="elsewhere").status == 400
    assert harbour.ask_token("anna", PASSWORD, service="boatyard-registry").status == 200


def test_our_client_pulls_pushes_and_mounts_with_credentials(harbour: Harbour) -> None:
    class Given:
        def get(self, host: str) -> Credential:
            return Credential("anna", PASSWORD)

    transport = Transport()
    registries = Registries(transport, Hosts(), Tokens(transport, Given()))
    name = references.parse(f"{harbour.server.host}/team/app")
    repository = registries.repository(name, Stop())
    document = repository.manifest("v1")
    blob = json.loads(document.data)["layers"][0]["digest"]
    copies = registries.repository(references.parse(f"{harbour.server.host}/copies/app"), Stop())
    assert copies.mount(blob, name) is None
    assert copies.has_blob(blob)
    assert list(repository.tags()) == ["v1"]
    transport.close()


# Where anybody may pull


def test_anybody_pulls_where_that_is_allowed_and_nothing_else(public: Harbour) -> None:
    assert public.server.call("GET", "/v2/").status == 401  # clients log in by this
    assert public.server.call("GET", "/v2/team/app/manifests/v1").status == 200
    token = public.token("", "repository:team/app:pull,push")
    assert public.with_token("GET", "/v2/team/app/manifests/v1", token).status == 200
    assert public.with_token("GET", "/v2/", token).status == 200
    assert public.with_token("POST", "/v2/team/app/blobs/uploads/", token).status == 401
    assert public.server.call("POST", "/v2/team/app/blobs/uploads/").status == 401
    assert public.server.call("DELETE", "/v2/team/app/manifests/v1").status == 401


def test_a_wrong_password_is_refused_even_where_anybody_may_pull(public: Harbour) -> None:
    assert public.ask_token("ben", "wrong", "repository:team/app:pull").status == 401


# Forged tokens


def test_forged_tokens_are_refused(harbour: Harbour) -> None:
    token = harbour.token("ben", "repository:team/app:pull")
    head, claims, signature = token.split(".")

    def encoded(value: Any) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

    def decoded(text: str) -> Any:
        return json.loads(base64.urlsafe_b64decode(text + "=="))

    wider = decoded(claims)
    wider["access"] = [{"type": "repository", "name": "other/app", "actions": ["pull"]}]
    stranger = Signer(decoded(head)["kid"], b"\1" * 32)
    forged = [
        f"{head}.{encoded(wider)}.{signature}",
        f"{encoded({'alg': 'none', 'kid': decoded(head)['kid']})}.{encoded(wider)}.",
        f"{encoded({'alg': 'HS256', 'kid': decoded(head)['kid']})}.{encoded(wider)}.{signature}",
        f"{encoded({**decoded(head), 'kid': 'other'})}.{claims}.{signature}",
        stranger.sign(Claims(**{**decoded(claims), "access": []})),
        f"{head}.{claims}",
        f"{token}.x",
        token[:-4] + "AAAA",
        token + "=",
        "a" * 100_000,
    ]
    for each in forged:
        for path in ("/v2/other/app/manifests/v1", "/v2/team/app/manifests/v1"):
            answer = harbour.with_token("GET", path, each) if len(each) < 60_000 else None
            assert answer is None or answer.status == 401, each
    assert harbour.with_token("GET", "/v2/team/app/manifests/v1", token).status == 200


def test_a_token_is_read_by_its_own_service_only() -> None:
    signer = Signer("k", b"\2" * 32)
    claims = Claims(iss="here", aud="here", sub="x", exp=200.0, nbf=100.0, iat=100.0, jti="1")
    text = signer.sign(claims)
    assert jwt.read(text, [signer], issuer="here", now=150.0) == claims
    for issuer, now in (("there", 150.0), ("here", 200.0), ("here", 50.0)):
        with pytest.raises(DeniedError):
            jwt.read(text, [signer], issuer=issuer, now=now)
    with pytest.raises(DeniedError):
        jwt.read(text, [], issuer="here", now=150.0)


# Access tokens


def test_an_access_token_stands_for_a_password_within_its_bounds(harbour: Harbour) -> None:
    pat = harbour.accounts.make_token("ben", "laptop", (parse_grant("team/*"),), None)
    token = harbour.token("ben", "repository:team/app:pull,push", password=pat)
    assert harbour.with_token("GET", "/v2/team/app/manifests/v1", token).status == 200
    assert harbour.with_token("POST", "/v2/team/app/blobs/uploads/", token).status == 401
    assert harbour.with_token("GET", "/v2/team/app/manifests/v1", pat).status == 200
    assert harbour.with_token("POST", "/v2/team/app/blobs/uploads/", pat).status == 401
    assert harbour.ask_token("anna", pat).status == 401  # it isn't hers
    # A token allows no more than its user may.
    wide = harbour.accounts.make_token("ben", "wide", EVERYTHING, None)
    assert harbour.with_token("GET", "/v2/other/app/manifests/v1", wide).status == 401


def test_a_revoked_token_counts_no_more_and_nor_does_what_was_got_with_it(harbour: Harbour) -> None:
    pat = harbour.accounts.make_token("ben", "laptop", EVERYTHING, None)
    token = harbour.token("ben", "repository:team/app:pull", password=pat)
    assert harbour.with_token("GET", "/v2/team/app/manifests/v1", token).status == 200
    harbour.accounts.revoke("ben", "laptop")
    assert harbour.with_token("GET", "/v2/team/app/manifests/v1", token).status == 401
    assert harbour.with_token("GET", "/v2/team/app/manifests/v1", pat).status == 401
    assert harbour.ask_token("ben", pat).status == 401
    with pytest.raises(NotFoundError):
        harbour.accounts.revoke("ben", "laptop")


def test_a_token_ends_with_its_lifetime_and_tells_when_it_was_used(harbour: Harbour) -> None:
    pat = harbour.accounts.make_token("ben", "short", EVERYTHING, 3600.0)
    (token,) = harbour.accounts.tokens("ben")
    assert token.used is None and token.expires == harbour.now[0] + 3600
    harbour.now[0] += 60
    assert harbour.with_token("GET", "/v2/", pat).status == 200
    assert harbour.accounts.tokens()[0].used == harbour.now[0]
    harbour.now[0] += 3600
    assert harbour.with_token("GET", "/v2/", pat).status == 401


def test_what_a_user_may_changes_at_once(harbour: Harbour) -> None:
    token = harbour.token("ben", "repository:team/app:pull,push")
    assert harbour.with_token("POST", "/v2/team/app/blobs/uploads/", token).status == 202
    harbour.accounts.set_grants("ben", (parse_grant("team/*=pull"),))
    assert harbour.with_token("POST", "/v2/team/app/blobs/uploads/", token).status == 401
    assert harbour.with_token("GET", "/v2/team/app/manifests/v1", token).status == 200
    harbour.accounts.disable("ben", True)
    assert harbour.with_token("GET", "/v2/team/app/manifests/v1", token).status == 401
    assert harbour.ask_token("ben").status == 401
    harbour.accounts.disable("ben", False)
    harbour.accounts.remove("ben")
    assert harbour.with_token("GET", "/v2/team/app/manifests/v1", token).status == 401


def test_accounts_refuse_what_makes_no_sense(harbour: Harbour) -> None:
    accounts = harbour.accounts
    with pytest.raises(ConflictError):
        accounts.add("ben", PASSWORD, EVERYTHING)
    for name, password in (("", PASSWORD), ("a b", PASSWORD), ("-x", PASSWORD), ("new", "short")):
        with pytest.raises(InvalidError):
            accounts.add(name, password, EVERYTHING)
    with pytest.raises(NotFoundError):
        accounts.make_token("nobody", "x", EVERYTHING, None)
    accounts.make_token("ben", "x", EVERYTHING, None)
    with pytest.raises(ConflictError):
        accounts.make_token("ben", "x", EVERYTHING, None)
    for call in (accounts.remove, accounts.disable_two_factor):
        with pytest.raises(NotFoundError):
            call("nobody")
    for text in ("", "=pull", "x=", "x=fly", "UPPER=pull"):
        with pytest.raises(InvalidError):
            parse_grant(text)


# Two factors


def test_the_codes_are_those_of_the_specification() -> None:
    """RFC 6238, appendix B, the last six digits."""
    secret = base64.b32encode(b"12345678901234567890").decode()
    for now, expected in ((59, "287082"), (1111111109, "081804"), (20000000000, "353130")):
        assert totp.code(secret, now // 30) == expected


def enabled(harbour: Harbour) -> tuple[str, list[str]]:
    secret = totp.new_secret(lambda count: b"\7" * count)
    with pytest.raises(DeniedError):
        harbour.accounts.enable_two_factor("ben", secret, "000000")
    codes = harbour.accounts.enable_two_factor("ben", secret, totp.code(secret, int(harbour.now[0] // 30)))
    return secret, codes


def log_in(harbour: Harbour, code: str, password: str = PASSWORD) -> Answer:
    document = json.dumps({"user": "ben", "password": password, "code": code})
    return harbour.server.call("POST", "/boat/registry/v1/session", document)


def test_with_two_factors_a_password_alone_is_not_enough(harbour: Harbour) -> None:
    enabled(harbour)
    answer = harbour.ask_token("ben")
    assert answer.status == 401 and "personal access token" in answer.json()["errors"][0]["message"]
    pat = harbour.accounts.make_token("ben", "laptop", EVERYTHING, None)
    assert harbour.ask_token("ben", pat).status == 200
    assert log_in(harbour, "").status == 401


def test_a_one_time_password_counts_once(harbour: Harbour) -> None:
    secret, _ = enabled(harbour)
    used = totp.code(secret, int(harbour.now[0] // 30))
    assert log_in(harbour, used).status == 401  # it turned two-factor login on
    harbour.now[0] += 30
    code = totp.code(secret, int(harbour.now[0] // 30))
    assert log_in(harbour, code, "wrong password").status == 401
    assert log_in(harbour, code).status == 200
    assert log_in(harbour, code).status == 401
    harbour.now[0] += 300
    assert log_in(harbour, code).status == 401  # long over
    assert log_in(harbour, totp.code(secret, int(harbour.now[0] // 30) - 1)).status == 200  # a slow clock
    assert log_in(harbour, totp.code(secret, int(harbour.now[0] // 30) + 1)).status == 200  # a fast one


def test_a_recovery_code_counts_once(harbour: Harbour) -> None:
    _, codes = enabled(harbour)
    assert len(set(codes)) == 10
    assert log_in(harbour, codes[3]).status == 200
    assert log_in(harbour, codes[3]).status == 401
    assert log_in(harbour, codes[4].upper()).status == 200
    assert next(user for user in harbour.accounts.users() if user.name == "ben").recovery_codes == 8
    harbour.accounts.disable_two_factor("ben")
    assert harbour.ask_token("ben").status == 200


def test_users_manage_their_own_tokens_after_a_login(harbour: Harbour) -> None:
    session = log_in(harbour, "").json()["token"]
    path = "/boat/registry/v1/tokens"
    wanted = json.dumps({"name": "laptop", "grants": ["team/*=pull"], "lifetime": 3600})
    made = harbour.with_token("POST", path, session, wanted)
    assert made.status == 200
    assert harbour.with_token("GET", "/v2/team/app/manifests/v1", made.json()["token"]).status == 200
    (shown,) = harbour.with_token("GET", path, session).json()["tokens"]
    assert (shown["name"], shown["grants"], "token" in shown) == ("laptop", ["team/*=pull"], False)
    # An access token makes no others, and nor does what docker is given.
    assert harbour.with_token("POST", path, made.json()["token"], wanted).status == 403
    assert harbour.with_token("GET", path, harbour.token("ben")).status == 403
    for document, status in (("{", 400), (json.dumps({"name": ""}), 400), (wanted, 409)):
        assert harbour.with_token("POST", path, session, document).status == status
    assert harbour.with_token("DELETE", f"{path}/{shown['id']}", session).status == 204
    assert harbour.with_token("DELETE", f"{path}/{shown['id']}", session).status == 404


# How often


def test_guessing_passwords_is_slowed_down(harbour: Harbour) -> None:
    statuses = [harbour.ask_token("ben", f"wrong {number}").status for number in range(12)]
    assert statuses[:10] == [401] * 10 and statuses[-1] == 429
    answer = harbour.ask_token("ben")
    assert (answer.status, answer.codes) == (429, ["TOOMANYREQUESTS"])
    harbour.now[0] += int(answer.headers["retry-after"])
    assert harbour.ask_token("ben").status == 200


def test_requests_beyond_the_rate_are_told_when_to_come_back(tmp_path: Path) -> None:
    now = [1e9]
    with serving(tmp_path / "root", clock=lambda: now[0], rate=0.5, burst=3) as server:
        assert [server.call("GET", "/v2/").status for _ in range(5)] == [200, 200, 200, 429, 429]
        answer = server.call("GET", "/v2/")
        assert (answer.codes, answer.headers["retry-after"]) == (["TOOMANYREQUESTS"], "2")
        now[0] += 2
        assert server.call("GET", "/v2/").status == 200


def test_buckets_fill_steadily_and_are_forgotten_when_there_are_too_many() -> None:
    rates = Rates(2.0, 4.0)
    assert [rates.wait("a", 0.0) for _ in range(5)] == [0, 0, 0, 0, 0.5]
    assert rates.wait("b", 0.0) == 0
    assert rates.wait("a", 0.5) == 0
    assert rates.shortage("a", 0.5) == 0.5 and rates.shortage("c", 0.5) == 0
    for number in range(30_000):
        rates.wait(str(number), 1.0)
    assert rates.wait("a", 1.0) == 0


# Scopes


def test_scopes_are_narrowed_by_every_limit() -> None:
    scopes = parse_scopes(["repository:a/b:pull,push repository:c:*", "registry:catalog:*", "x", "repository:A:pull"])
    assert [scope.name for scope in scopes] == ["a/b", "c", "catalog"]
    reading = (parse_grant("*=pull"),)
    assert narrowed(scopes, EVERYTHING, reading) == [
        Scope("repository", "a/b", ("pull",)),
        Scope("repository", "c", ("pull",)),
        Scope("registry", "catalog", ("*",)),
    ]
    team = (parse_grant("a/*=push"), parse_grant("a/?=pull"))
    assert narrowed(scopes, EVERYTHING, team) == [Scope("repository", "a/b", ("pull", "push"))]
    assert parse_scopes(["repository(plugin):a/b:pull"]) == [Scope("repository", "a/b", ("pull",))]


# Metrics and browsing


def test_metrics_are_for_those_who_are_let_in(harbour: Harbour) -> None:
    assert harbour.server.call("GET", "/metrics").status == 401
    pat = harbour.accounts.make_token("ben", "prometheus", (parse_grant("nothing"),), None)
    answer = harbour.with_token("GET", "/metrics", pat)
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert b'boat_registry_requests_total{method="GET",kind="other",status="401"} 1\n' in answer.body
    assert b"boat_registry_request_duration_seconds_count" in answer.body


def test_metrics_count_bytes_and_requests(tmp_path: Path) -> None:
    with serving(tmp_path / "root") as server:
        digest = server.push_blob("counted", b"x" * 1000)
        server.call("GET", f"/v2/counted/blobs/{digest}")
        server.call("GET", "/v2/counted/manifests/none")
        text = server.call("GET", "/metrics").body.decode()
    assert "boat_registry_received_bytes_total 1000\n" in text
    assert "boat_registry_sent_bytes_total 1000\n" in text
    assert "boat_registry_blobs_pushed_total 1\n" in text
    assert 'boat_registry_requests_total{method="GET",kind="manifest",status="4xx"} 1\n' in text
    assert 'boat_registry_request_duration_seconds_bucket{kind="blob",le="+Inf"} 1\n' in text


def test_repositories_tags_platforms_and_sizes_are_browsed(tmp_path: Path) -> None:
    with serving(tmp_path / "root") as server:
        children = [server.push_image("shop/app", name, [name.encode() * 100]) for name in ("amd64", "arm64")]
        server.push_index("shop/app", "v1", children)
        server.push_image("shop/app", "sbom", [b"{}"], subject={"mediaType": "x/y", "digest": children[0], "size": 1})
        base = "/boat/registry/v1"
        (summary,) = server.call("GET", f"{base}/repositories").json()["repositories"]
        assert (summary["name"], summary["tagCount"]) == ("shop/app", 4)
        page = server.call("GET", f"{base}/repositories/shop/app?n=3").json()
        assert [tag["tag"] for tag in page["tags"]] == ["amd64", "arm64", "sbom"] and page["next"] == "sbom"
        (tag,) = server.call("GET", f"{base}/repositories/shop/app?last=sbom").json()["tags"]
        assert tag["platforms"] == ["linux/amd64", "linux/amd64"]
        image = server.call("GET", f"{base}/images/shop/app/v1").json()
        assert [child["digest"] for child in image["manifests"]] == children
        assert image["manifests"][0]["layers"][0]["size"] == 500
        assert image["size"] > 1000
        image = server.call("GET", f"{base}/images/shop/app/{children[0]}").json()
        assert len(image["referrers"]) == 1
        for path in ("repositories/nosuch", "images/shop/app/nosuch", "images/nosuch/v1", "repositories/UP", "nothing"):
            assert server.call("GET", f"{base}/{path}").status in (400, 404)
        assert server.call("GET", f"{base}/repositories?n=0").status == 400


def test_each_sees_the_repositories_that_they_may_pull(harbour: Harbour) -> None:
    base = "/boat/registry/v1"
    mine = harbour.token("ben")
    names = [each["name"] for each in harbour.with_token("GET", f"{base}/repositories", mine).json()["repositories"]]
    assert names == ["team/app"]
    assert harbour.with_token("GET", f"{base}/repositories/team/app", mine).status == 200
    assert harbour.with_token("GET", f"{base}/repositories/other/app", mine).status == 404
    assert harbour.with_token("GET", f"{base}/images/other/app/v1", mine).status == 404
    assert harbour.server.call("GET", f"{base}/repositories").status == 401

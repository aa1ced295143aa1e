"""`boat diagnose`: what is hidden, and that the archive is what its manifest says."""

from __future__ import annotations

import io
import json
import tarfile
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from boatyard.cli.diagnose.bundle import writing
from boatyard.cli.diagnose.redaction import HIDDEN, redact, redact_bytes, redact_document, redact_variables


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("password = 'hunter2'", f"password = '{HIDDEN}'"),
        ('  "api_token": "abc", "user": "me"', f'  "api_token": "{HIDDEN}", "user": "me"'),
        ("MYSQL_ROOT_PASSWORD=secret123 next", f"MYSQL_ROOT_PASSWORD={HIDDEN} next"),
        ("http = 'http://me:pass@proxy:3128/'", f"http = 'http://{HIDDEN}@proxy:3128/'"),
        ("GET /v2/ Authorization: Bearer abc.def", f"GET /v2/ Authorization: {HIDDEN}"),
        ("sent Bearer abcdefghijkl", f"sent Bearer {HIDDEN}"),
        ("aws_secret_access_key: x/y+z", f"aws_secret_access_key: {HIDDEN}"),
        ("nothing to see: author=me, https://host:443/path", "nothing to see: author=me, https://host:443/path"),
        ("max_lines = 5000", "max_lines = 5000"),
    ],
)
def test_secrets_are_hidden_by_their_names_and_places(text: str, shown: str) -> None:
    assert redact(text) == shown


def test_variables_and_documents_are_looked_through() -> None:
    assert redact_variables({"BOAT_TOKEN": "x", "HTTP_PROXY": "http://a:b@p", "BOAT_HOST": "unix:///run/x"}) == {
        "BOAT_TOKEN": HIDDEN,
        "HTTP_PROXY": f"http://{HIDDEN}@p",
        "BOAT_HOST": "unix:///run/x",
    }
    assert redact_document({"password": "x", "deep": [{"auth": "y", "name": "z"}], "count": 3, "token": ""}) == {
        "password": HIDDEN,
        "deep": [{"auth": HIDDEN, "name": "z"}],
        "count": 3,
        "token": "",
    }


@given(st.binary(max_size=300))
def test_any_bytes_can_be_looked_through(data: bytes) -> None:
    redact_bytes(data)


def test_the_manifest_says_what_is_there_and_what_is_not() -> None:
    stream = io.BytesIO()
    with writing(stream, "top", 1_800_000_000) as bundle:
        bundle.add("logs/a.log", "a log", b"line\n")
        bundle.add("logs/b.log", "another", b"end\n", truncated=True)
        bundle.lack("daemon", "the daemon", "not running")
        bundle.finish({"host": "here"})
    with tarfile.open(fileobj=io.BytesIO(stream.getvalue())) as tar:
        files = {member.name: tar.extractfile(member) for member in tar}
        read = {name: file.read() for name, file in files.items() if file is not None}
    manifest = json.loads(read.pop("top/manifest.json"))
    assert manifest["host"] == "here"
    assert {f"top/{each['name']}": each["sha256"] for each in manifest["contents"]} == {
        name: sha256(data).hexdigest() for name, data in read.items()
    }
    assert [each["truncated"] for each in manifest["contents"]] == [False, True]
    assert manifest["missing"] == [{"name": "daemon", "about": "the daemon", "reason": "not running"}]

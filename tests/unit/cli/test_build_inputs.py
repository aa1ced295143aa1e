"""What a build reads on this side besides directories: standard input, keys."""

from __future__ import annotations

import gzip
import io
import os
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from boatyard.cli.build.keyagent import key_agent
from boatyard.cli.build.stdin import is_archive
from boatyard.errors import InvalidError


def _tar(form: int) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as archive:
        archive.addfile(tarfile.TarInfo("Dockerfile"))
    return buffer.getvalue()


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_tar_archives_are_recognised(form: int) -> None:
    assert is_archive(_tar(form)[:512])
    assert is_archive(gzip.compress(_tar(form))[:512])


def test_the_oldest_archives_have_no_magic_but_a_checksum() -> None:
    header = bytearray(_tar(tarfile.USTAR_FORMAT)[:512])
    header[257:265] = bytes(8)
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    assert is_archive(bytes(header))


@pytest.mark.parametrize("text", [b"", b"FROM base\n", b"# syntax=docker/dockerfile:1\n" + b"RUN x\n" * 200, b"ustar"])
def test_a_dockerfile_is_no_archive(text: bytes) -> None:
    assert not is_archive(text[:512])


@given(st.binary(max_size=600))
def test_no_bytes_upset_the_question(data: bytes) -> None:
    assert is_archive(data[:512]) in (True, False)


needs_ssh = pytest.mark.skipif(shutil.which("ssh-agent") is None, reason="openssh-client is not installed")


@needs_ssh
def test_keys_are_held_by_an_agent_for_the_time_of_a_build(tmp_path: Path) -> None:
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "mine", "-f", str(key)], check=True)
    with key_agent([str(key)], dict(os.environ)) as socket:
        listed = subprocess.run(
            ["ssh-add", "-l"], env={**os.environ, "SSH_AUTH_SOCK": socket}, capture_output=True, text=True, check=True
        )
        assert "mine (ED25519)" in listed.stdout
    assert not Path(socket).exists()


@needs_ssh
def test_a_key_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("nonsense")
    (tmp_path / "key").chmod(0o600)
    with (
        pytest.raises(InvalidError, match="can't load the key"),
        key_agent([str(tmp_path / "key")], {**os.environ, "SSH_ASKPASS": "/bin/false", "SSH_ASKPASS_REQUIRE": "force"}),
    ):
        pass

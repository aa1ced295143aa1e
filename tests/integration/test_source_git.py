"""The git source on repositories of this host, and over HTTP on the loopback."""

from __future__ import annotations

import asyncio
import hashlib
import os
from pathlib import Path

import pytest

from boatyard.build.llb.graph import SourceOp
from boatyard.build.result import LayersResult
from boatyard.build.source.git import GitStep, GitUrl, parse
from boatyard.build.source.meta import GitMeta, MetaQuestion
from boatyard.errors import IntegrityError, InvalidError, NotFoundError, UnavailableError, UnsupportedError
from e2e.served import commit_all, git, serve
from e2e.yard import write_files
from fixtures.filework import DirectoryRequester, Told, Workshop

pytestmark = pytest.mark.root


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    return Workshop(tmp_path)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """main: two commits, the first tagged v1 (annotated) and light; a branch `side`."""
    source = write_files(tmp_path / "repo", {"f": "1", "sub/g": "2", "sub/deep/h": "3"})
    commit_all(source, "first")
    git(source, "tag", "-a", "-m", "first", "v1")
    git(source, "tag", "light")
    git(source, "checkout", "-q", "-b", "side/branch")
    write_files(source, {"side": "s"})
    commit_all(source, "side")
    git(source, "checkout", "-q", "main")
    write_files(source, {"f": "changed"})
    os.symlink("f", source / "link")
    (source / "run").write_text("#!/bin/sh\n")
    (source / "run").chmod(0o755)
    commit_all(source, "second")
    return source


def step(workshop: Workshop, url: str, **attrs: str) -> GitStep:
    named = {f"git.{name}": value for name, value in attrs.items()}
    remote, _, fragment = url.partition("#")
    identifier = f"git://{remote.partition('://')[2]}" + (f"#{fragment}" if fragment else "")
    return GitStep(identifier, {"git.fullurl": remote, **named}, DirectoryRequester({}), workshop.store,
                   workshop.root / "sources", workshop.occupancy)  # fmt: skip


async def check_out(workshop: Workshop, url: str, **attrs: str) -> dict[str, str]:
    op = step(workshop, url, **attrs)
    await op.cache_map(Told())
    (result,) = await op.execute(Told(), [])
    assert isinstance(result, LayersResult)
    return await workshop.shown(result)


FIRST = {"f": "1", "sub/": "", "sub/g": "2", "sub/deep/": "", "sub/deep/h": "3"}
SECOND = {**FIRST, "f": "changed", "link": "-> f", "run": "#!/bin/sh\n"}
REFS = {
    "": SECOND,
    "HEAD": SECOND,
    "main": SECOND,
    "refs/heads/main": SECOND,
    "heads/main": SECOND,
    "v1": FIRST,
    "light": FIRST,
    "refs/tags/v1": FIRST,
    "side/branch": {**FIRST, "side": "s"},
}


@pytest.mark.parametrize("ref", REFS)
async def test_a_ref_is_a_branch_a_tag_or_nothing(workshop: Workshop, repository: Path, ref: str) -> None:
    assert await check_out(workshop, f"file://{repository}#{ref}") == REFS[ref]


async def test_a_commit_is_found_by_its_name_and_by_the_beginning_of_it(workshop: Workshop, repository: Path) -> None:
    first = git(repository, "rev-parse", "v1^{commit}")
    assert await check_out(workshop, f"file://{repository}#{first}") == FIRST
    assert await check_out(workshop, f"file://{repository}#{first[:9]}") == FIRST


async def test_a_sub_directory_is_the_root_of_what_comes(workshop: Workshop, repository: Path) -> None:
    assert await check_out(workshop, f"file://{repository}#main:sub") == {"deep/": "", "deep/h": "3", "g": "2"}
    assert await check_out(workshop, f"file://{repository}#v1:/sub/deep/") == {"h": "3"}


async def test_the_key_is_the_commits_whatever_it_is_called(workshop: Workshop, repository: Path) -> None:
    async def key(ref: str, **attrs: str) -> str:
        return (await step(workshop, f"file://{repository}#{ref}", **attrs).cache_map(Told())).digest

    assert await key("v1") == await key("light")
    assert len({await key("v1"), await key("main"), await key("v1:sub"), await key("v1", keepgitdir="true")}) == 4
    before = await key("main")
    write_files(repository, {"f": "third"})
    commit_all(repository)
    assert await key("main") != before
    assert await key("v1") == await key("light")


async def test_a_repository_is_described_without_a_checkout(workshop: Workshop, repository: Path) -> None:
    async def described(ref: str, *, objects: bool = False) -> GitMeta:
        op = step(workshop, f"file://{repository}#{ref}")
        await op.cache_map(Told())
        found = (await op.describe(MetaQuestion(SourceOp("git://x"), objects=objects))).git
        assert found is not None
        return found

    first, tag = git(repository, "rev-parse", "v1^{commit}"), git(repository, "rev-parse", "v1")
    assert await described("v1") == GitMeta(tag, "refs/tags/v1", commit_checksum=first)
    assert await described("light") == GitMeta(first, "refs/tags/light")
    assert not list((workshop.root / "sources").glob("git/*"))
    full = await described("v1", objects=True)
    for kind, data, name in (("commit", full.commit_object, first), ("tag", full.tag_object, tag)):
        assert hashlib.sha1(b"%s %d\0" % (kind.encode(), len(data)) + data).hexdigest() == name


async def test_a_kept_git_directory_knows_its_ref_and_nothing_of_this_host(
    workshop: Workshop, repository: Path, tmp_path: Path
) -> None:
    op = step(workshop, f"file://{repository}#v1", keepgitdir="true")
    await op.cache_map(Told())
    (result,) = await op.execute(Told(), [])
    assert isinstance(result, LayersResult)
    async with result.tree() as tree:
        assert git(tree, "-c", f"safe.directory={tree}", "describe", "--tags") == "v1"
        assert git(tree, "-c", f"safe.directory={tree}", "status", "--porcelain") == ""
        assert not (tree / ".git/FETCH_HEAD").exists()
        config = (tree / ".git/config").read_text()
        assert f"file://{repository}" in config
        assert "sources" not in config


async def test_the_time_is_the_commits(workshop: Workshop, repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_COMMITTER_DATE", "@1234567890 +0000")
    write_files(repository, {"f": "dated"})
    commit_all(repository)
    op = step(workshop, f"file://{repository}")
    await op.cache_map(Told())
    assert await op.source_time() == 1234567890


async def test_submodules_are_checked_out_unless_they_are_skipped(
    workshop: Workshop, repository: Path, tmp_path: Path
) -> None:
    inner = write_files(tmp_path / "inner", {"deepest": "x"})
    commit_all(inner)
    module = write_files(tmp_path / "module", {"inside": "y"})
    commit_all(module)
    git(module, "submodule", "--quiet", "add", f"file://{inner}", "inner")
    commit_all(module)
    git(repository, "submodule", "--quiet", "add", f"file://{module}", "mod")
    commit_all(repository)
    url = f"file://{repository}"
    assert await check_out(workshop, f"{url}#main:mod") == {
        "inside": "y",
        ".gitmodules": (module / ".gitmodules").read_text(),
        "inner/": "",
        "inner/deepest": "x",
    }
    assert await check_out(workshop, f"{url}#main:mod", skipsubmodules="true") == {}


async def test_a_repository_elsewhere_cannot_name_one_of_this_host_as_submodule(
    workshop: Workshop, repository: Path, tmp_path: Path
) -> None:
    private = write_files(tmp_path / "private", {"key": "secret"})
    commit_all(private)
    with serve(tmp_path / "served") as served:
        hostile = write_files(served.directory / "hostile", {"f": "x"})
        commit_all(hostile)
        git(hostile, "submodule", "--quiet", "add", f"file://{private}", "stolen")
        commit_all(hostile)
        with pytest.raises(UnavailableError, match="not allowed"):
            await check_out(workshop, f"{served.url}/hostile/.git")


async def test_symlinks_do_not_lead_out_of_the_checkout(workshop: Workshop, repository: Path) -> None:
    os.symlink("/etc", repository / "outside")
    commit_all(repository)
    with pytest.raises(NotFoundError, match="no directory 'outside'"):
        await check_out(workshop, f"file://{repository}#main:outside")


async def test_a_checksum_is_the_commits_or_its_beginning(workshop: Workshop, repository: Path) -> None:
    head = git(repository, "rev-parse", "HEAD")
    url = f"file://{repository}#main"
    assert await check_out(workshop, url, checksum=head) == SECOND
    assert await check_out(workshop, url, checksum=head[:10]) == SECOND
    with pytest.raises(IntegrityError, match="the checksum asks for"):
        await check_out(workshop, url, checksum="0" * 40)


async def test_what_is_not_there_is_said(workshop: Workshop, repository: Path, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no branch or tag 'nope'"):
        await check_out(workshop, f"file://{repository}#nope")
    with pytest.raises(NotFoundError, match="no directory 'nope'"):
        await check_out(workshop, f"file://{repository}#main:nope")
    with pytest.raises((NotFoundError, UnavailableError), match=r"no commit|not our ref|git fetch"):
        await check_out(workshop, f"file://{repository}#{'0' * 39}1")
    with pytest.raises(UnavailableError, match="git ls-remote failed"):
        await check_out(workshop, f"file://{tmp_path}/none")
    with pytest.raises(UnsupportedError, match="not supported"):
        step(workshop, f"file://{repository}", **{"sig.pubkey": "x"})


async def test_many_at_once_share_a_mirror(workshop: Workshop, repository: Path) -> None:
    with serve(repository.parent) as served:
        refs = ["main", "v1", "side/branch", "light", "", "main:sub"]
        url = f"{served.url}/{repository.name}/.git"
        found = await asyncio.gather(*(check_out(workshop, f"{url}#{ref}") for ref in refs))
    assert found[0] == found[4] == SECOND
    assert found[1] == found[3] == FIRST


async def test_a_commit_that_is_here_needs_no_network(workshop: Workshop, repository: Path) -> None:
    head = git(repository, "rev-parse", "HEAD")
    with serve(repository.parent) as served:
        url = f"{served.url}/{repository.name}/.git#{head}"
        await check_out(workshop, url)
        asked = len(served.answers)
        assert await check_out(workshop, url) == SECOND
        assert len(served.answers) == asked


async def test_credentials_are_sent_and_never_shown(workshop: Workshop, tmp_path: Path, repository: Path) -> None:
    class Tokens(DirectoryRequester):
        async def secret(self, id: str) -> bytes | None:
            return b"t0ken\n" if id == "GIT_AUTH_TOKEN" else None

    with serve(tmp_path) as served:
        url = f"{served.url}/nothing/.git"
        op = GitStep(
            f"git://{url.partition('://')[2]}",
            {"git.fullurl": url},
            Tokens({}),
            workshop.store,
            tmp_path / "s",
            workshop.occupancy,
        )
        with pytest.raises(UnavailableError) as raised:
            await op.cache_map(Told())
        assert "t0ken" not in str(raised.value)
        assert "basic eC1hY2Nlc3MtdG9rZW46dDBrZW4=" in served.authorizations
        with pytest.raises(UnavailableError) as raised:
            await check_out(workshop, url.replace("://", "://me:s3cret@"))
        assert "s3cret" not in str(raised.value)
        assert "xxxxx@" in str(raised.value)


async def test_nothing_is_left_of_a_checkout(workshop: Workshop, repository: Path) -> None:
    await check_out(workshop, f"file://{repository}")
    with pytest.raises(NotFoundError):
        await check_out(workshop, f"file://{repository}#main:nope")
    assert list(workshop.root.glob("sources/git/work-*")) == []


ADDRESSES = {
    "https://h/x.git": GitUrl("https://h/x.git"),
    "https://h/x.git#v1": GitUrl("https://h/x.git", "v1"),
    "https://h/x.git#v1:sub/dir/": GitUrl("https://h/x.git", "v1", "sub/dir"),
    "https://h/x.git#:sub": GitUrl("https://h/x.git", "", "sub"),
    "git@h:me/x.git#a": GitUrl("git@h:me/x.git", "a"),
    "ssh://git@h/x": GitUrl("ssh://git@h/x"),
    "h/x.git": GitUrl("https://h/x.git"),
}


@pytest.mark.parametrize("text", ADDRESSES)
def test_addresses(text: str) -> None:
    assert parse(text) == ADDRESSES[text]


@pytest.mark.parametrize("text", ["https://h/x#--upload-pack=x", "https://h/x#a:../..", "https://h/x#a:b/../../c"])
def test_hostile_addresses_are_refused(text: str) -> None:
    with pytest.raises(InvalidError):
        parse(text)

"""The git source: `git://` and `https://….git` repositories, at a ref, through the system's git.

A bare mirror per remote is kept below the daemon's directory, so that a second build fetches only what is new. The
checkout becomes a layer. A vertex is told apart by the commit its ref names now, so asking the remote once per build is
enough.

Attributes: moby/buildkit `solver/pb/attr.go` (git.fullurl, git.keepgitdir, git.checksum, git.skipsubmodules ...).
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import re
import shlex
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from boatyard.build.llb.graph import SourceOp
from boatyard.build.requester import Requester
from boatyard.build.result import LayersResult, Result
from boatyard.build.solver.types import CacheMap, StepContext
from boatyard.build.source import address
from boatyard.build.source.meta import GitMeta, MetaQuestion, SourceMeta
from boatyard.build.source.occupancy import TRASH, Occupancy
from boatyard.errors import IntegrityError, InvalidError, NotFoundError, UnavailableError, UnsupportedError
from boatyard.image.interruption import run_settled, settled
from boatyard.image.layer.store import LayerStore

_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_SCP = re.compile(r"(?P<user>[\w.-]+)@(?P<host>[\w.-]+):(?P<path>(?!//).+)")
_STALLED = 60
"""Seconds without a byte after which an HTTP server counts as stalled."""
_SSH_FAILED = "Could not read from remote repository"
_UNSUPPORTED = ("git.bundle", "git.checkoutbundle", "git.sig.pubkey", "git.fetchbycommit")


@dataclass(frozen=True, slots=True)
class GitUrl:
    """A remote and what of it: `REMOTE#REF:SUBDIR`. Without ref, the remote's HEAD."""

    remote: str
    ref: str = ""
    subdir: str = ""


def parse(text: str) -> GitUrl:
    """`git://`, `http(s)://`, `ssh://`, `file://`, `user@host:path`; the fragment names ref and sub-directory."""
    remote, _, fragment = text.partition("#")
    ref, _, subdir = fragment.partition(":")
    if "://" not in remote and not _SCP.fullmatch(remote):
        remote = f"https://{remote}"
    if remote.startswith("-") or ref.startswith("-"):
        raise InvalidError(f"invalid git reference {text!r}: it begins with a dash")
    parts = Path(subdir or "/").parts
    if ".." in parts:
        raise InvalidError(f"invalid sub-directory {subdir!r}: it leads out of the repository")
    return GitUrl(remote, ref, subdir.strip("/"))


def url_of(identifier: str, attrs: Mapping[str, str]) -> GitUrl:
    """What a git vertex names. InvalidError."""
    fragment = identifier.partition("://")[2].partition("#")[2]
    full = attrs.get("git.fullurl") or identifier.partition("#")[0]
    return parse(f"{full}#{fragment}" if fragment else full)


def scp(remote: str) -> tuple[str, str] | None:
    """Host and path of `user@host:path`; None for a URL."""
    match = _SCP.fullmatch(remote)
    return (match["host"], match["path"]) if match else None


class GitStep:
    """The op of one git vertex in one build."""

    def __init__(
        self,
        identifier: str,
        attrs: Mapping[str, str],
        requester: Requester,
        layers: LayerStore,
        directory: Path,
        occupancy: Occupancy,
    ) -> None:
        for name in _UNSUPPORTED:
            if attrs.get(name):
                raise UnsupportedError(f"the git source's attribute {name} is not supported yet")
        self._source = SourceOp(identifier, attrs)
        self._url = url_of(identifier, attrs)
        # Others on this host can read command lines: credentials go by the environment.
        self._remote, self._authorization = address.without_credentials(self._url.remote)
        self._shown = address.shown(self._url.remote)
        self._attrs = attrs
        self._requester = requester
        self._layers = layers
        self._mirror = directory / "git" / hashlib.sha256(self._url.remote.encode()).hexdigest()[:32]
        self._commit = ""
        self._found_as = ""
        self._tag = ""
        """The object of an annotated tag."""
        self._occupancy = occupancy

    @property
    def _keep_git_dir(self) -> bool:
        return self._attrs.get("git.keepgitdir", "") == "true"

    async def cache_map(self, step: StepContext) -> CacheMap:
        self._commit = commit = await self._resolve()
        self._check(commit)
        parts = {
            "the repository": self._shown,
            "the commit": commit,
            "the sub-directory": self._url.subdir,
            "the .git directory": "kept" if self._keep_git_dir else "left out",
            "submodules": "skipped" if self._attrs.get("git.skipsubmodules") == "true" else "checked out",
        }
        if self._keep_git_dir:
            parts["the ref"] = self._url.ref
        return CacheMap(
            digest=f"git {hashlib.sha256(repr(sorted(parts.items())).encode()).hexdigest()}", components=parts
        )

    async def source_time(self) -> int | None:
        """The commit's, in seconds since the epoch."""
        await self._fetch_commit()
        return int(await self._git("show", "-s", "--format=%ct", self._commit, at=self._mirror))

    async def describe(self, question: MetaQuestion) -> SourceMeta:
        """The objects are the bytes that git hashes, without their header."""
        found = GitMeta(checksum=self._tag or self._commit, ref=self._found_as or self._url.ref)
        if self._tag:
            found = replace(found, commit_checksum=self._commit)
        if question.objects:
            await self._fetch_commit()
            found = replace(found, commit_object=await self._object("commit", self._commit))
            if self._tag:
                async with self._occupancy.turn(self._mirror):
                    await self._fetch(self._found_as, depth=1)
                found = replace(found, tag_object=await self._object("tag", self._tag))
        return SourceMeta(self._source, git=found)

    async def _object(self, kind: str, name: str) -> bytes:
        text = await self._git("cat-file", kind, name, at=self._mirror)
        return text.encode("utf-8", "surrogateescape")

    def _check(self, commit: str) -> None:
        wanted = self._attrs.get("git.checksum", "")
        if wanted and not commit.startswith(wanted):
            raise IntegrityError(
                f"{self._shown}#{self._url.ref or 'HEAD'} is at commit {commit}, but the checksum asks for {wanted}",
                hint="correct --checksum, or name the commit as the ref",
            )

    async def _resolve(self) -> str:
        """The commit that the ref names on the remote now."""
        ref = self._url.ref
        if _COMMIT.fullmatch(ref):
            return ref
        if ref in ("", "HEAD"):
            names = ["HEAD"]
        else:
            names = [ref] if ref.startswith("refs/") else [f"refs/heads/{ref}", f"refs/tags/{ref}", f"refs/{ref}"]
        text = await self._git("ls-remote", "--", self._remote, *names, *(f"{name}^{{}}" for name in names))
        lines = (line.split("\t", 1) for line in text.splitlines() if "\t" in line)
        found = {name: commit for commit, name in lines}
        for name in names:
            # A tag's own object is not the commit it stands for: the peeled name is.
            for spelling in (f"{name}^{{}}", name):
                if spelling in found:
                    self._found_as = name
                    self._tag = found[name] if found.get(name, found[spelling]) != found[spelling] else ""
                    return found[spelling]
        if re.fullmatch(r"[0-9a-f]{7,40}", ref):
            return await self._abbreviated(ref)
        raise NotFoundError(
            f"{self._shown} has no branch or tag {ref or 'HEAD'!r}",
            hint=f"`git ls-remote {self._shown}` lists them",
        )

    async def _abbreviated(self, ref: str) -> str:
        async with self._occupancy.turn(self._mirror):
            await self._fetch("+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*", depth=0)
            return (await self._git("rev-parse", "--verify", f"{ref}^{{commit}}", at=self._mirror)).strip()

    async def execute(self, step: StepContext, inputs: Sequence[Result]) -> Sequence[Result]:
        snapshotter = self._layers.snapshotter
        with self._occupancy.using(self._mirror):
            step.status("fetching")
            await self._fetch_commit()
            step.status("fetching", done=True)
            # The work tree is a snapshot, too: files move from one to the other, and a killed daemon leaves neither.
            work = snapshotter.prepare()
            try:
                await self._check_out(snapshotter.directory(work))
                return [await run_settled(self._take, snapshotter.directory(work))]
            finally:
                await run_settled(snapshotter.remove, work)

    def _take(self, work: Path) -> LayersResult:
        """Make a layer of the files that were asked for."""
        snapshotter = self._layers.snapshotter
        active = snapshotter.prepare()
        try:
            _move(self._picked(work), snapshotter.directory(active))
            return LayersResult((self._layers.add(active),), self._layers)
        except BaseException:
            snapshotter.remove(active)
            raise

    async def _fetch_commit(self) -> None:
        async with self._occupancy.turn(self._mirror):
            if not await self._has(self._commit):
                await self._fetch_new()
            await asyncio.to_thread(os.utime, self._mirror)  # pruning goes by this

    async def _fetch_new(self) -> None:
        ref = self._url.ref
        try:
            await self._fetch(self._commit, depth=1)
        except UnavailableError:
            # Servers may refuse to serve a commit by its name: then everything the ref leads to is fetched.
            await self._fetch("+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*", depth=0)
        if not await self._has(self._commit):
            raise NotFoundError(f"{self._shown} has no commit {self._commit}", hint=f"is the ref {ref!r} right?")

    async def _has(self, commit: str) -> bool:
        if not (self._mirror / "HEAD").exists():
            return False
        try:
            await self._git("cat-file", "-e", f"{commit}^{{tree}}", at=self._mirror)
        except UnavailableError:
            return False
        return True

    async def _fetch(self, *refs: str, depth: int) -> None:
        if not (self._mirror / "HEAD").exists():
            self._mirror.parent.mkdir(parents=True, exist_ok=True)
            unfinished = self._mirror.with_name(f"{TRASH}{os.urandom(8).hex()}")
            await self._git("init", "--quiet", "--template=", "--bare", str(unfinished))
            os.rename(unfinished, self._mirror)
        else:
            await asyncio.to_thread(_unlock, self._mirror)
        limit = [f"--depth={depth}"] if depth else []
        await self._git("fetch", "--quiet", "--no-write-fetch-head", *limit, "--", self._remote, *refs, at=self._mirror)

    async def _check_out(self, work: Path) -> None:
        await self._git("init", "--quiet", "--template=", str(work))
        await self._git("fetch", "--quiet", "--depth=1", "--", str(self._mirror), self._commit, at=work)
        await self._git("remote", "add", "origin", self._remote, at=work)
        await self._git("-c", "advice.detachedHead=false", "checkout", "--quiet", "FETCH_HEAD", at=work)
        if self._attrs.get("git.skipsubmodules") != "true" and (work / ".gitmodules").exists():
            await self._update_submodules(work)
        if self._keep_git_dir and self._found_as.startswith(("refs/heads/", "refs/tags/")):
            await self._git("update-ref", self._found_as, "HEAD", at=work)
        await run_settled(_tidy if self._keep_git_dir else _strip, work)

    async def _update_submodules(self, work: Path) -> None:
        update = ("submodule", "update", "--quiet", "--init", "--recursive")
        try:
            await self._git(*update, "--depth=1", at=work)
        except UnavailableError:
            # Not every server gives parts of a history, or a commit by its name.
            await self._git("submodule", "deinit", "--quiet", "--force", "--all", at=work)
            await run_settled(shutil.rmtree, work / ".git/modules", ignore_errors=True)
            await self._git(*update, at=work)

    def _picked(self, work: Path) -> Path:
        path = work / self._url.subdir
        # A symlink in the repository must not lead out of the checkout.
        if not path.is_dir() or not path.resolve().is_relative_to(work.resolve()):
            raise NotFoundError(f"{self._shown} has no directory {self._url.subdir!r} at {self._commit[:12]}")
        return path

    async def _git(self, *arguments: str, at: Path | None = None) -> str:
        """Run git without anything of the daemon's own configuration, keys or terminal in the way."""
        program = shutil.which("git")
        if program is None:
            raise UnavailableError("git repositories need git, which isn't installed", hint="apt-get install git")
        async with self._environment() as environment:
            process = await asyncio.create_subprocess_exec(
                program,
                *_settings(self._remote),
                *arguments,
                cwd=at,
                env=environment,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                start_new_session=True,
            )
            try:
                out, err = await process.communicate()
            finally:
                # Those that speak to the server are processes of their own.
                if process.returncode is None:
                    os.killpg(process.pid, signal.SIGKILL)
                    await settled(asyncio.ensure_future(process.communicate()))
        if process.returncode:
            raise UnavailableError(
                f"git {arguments[0]} failed for {self._shown}: {address.shown(_reason(err))}",
                hint="does the repository exist, and may this build read it? "
                "See --secret id=GIT_AUTH_TOKEN and --ssh default",
            )
        return out.decode("utf-8", "surrogateescape")

    @asynccontextmanager
    async def _environment(self) -> AsyncIterator[dict[str, str]]:
        """Authentication is configuration in the environment, never on the command line, where others could read it.
        Of this host's keys and agents nothing is used but what the client gave."""
        environment = {
            name: value
            for name, value in os.environ.items()
            if (not name.startswith("GIT_") or name == "GIT_SSL_CAINFO") and name != "SSH_AUTH_SOCK"
        }
        environment |= {
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_CONFIG_NOSYSTEM": "1",
            "HOME": "/nonexistent",
            "LC_ALL": "C",
            **await self._http_settings(),
        }
        if socket := await self._requester.ssh_agent(self._attrs.get("git.mountsshsock", "default")):
            environment["SSH_AUTH_SOCK"] = socket
        with tempfile.NamedTemporaryFile("w", prefix="boat-known-hosts-") as known:
            hosts = self._attrs.get("git.knownsshhosts", "")
            known.write(hosts)
            known.flush()
            environment["GIT_SSH_COMMAND"] = " ".join(
                (*_SSH, f"-oUserKnownHostsFile={shlex.quote(known.name)}", _strict(hosts))
            )
            yield environment

    async def _http_settings(self) -> dict[str, str]:
        header = await self._requester.secret(self._attrs.get("git.authheadersecret", "GIT_AUTH_HEADER"))
        token = await self._requester.secret(self._attrs.get("git.authtokensecret", "GIT_AUTH_TOKEN"))
        if header is not None:
            authorization = header.decode().strip()
        elif token is not None:
            authorization = f"basic {base64.b64encode(b'x-access-token:' + token.strip()).decode()}"
        else:
            authorization = self._authorization
        if not authorization or not self._remote.startswith(("https://", "http://")):
            return {}
        scope = "/".join(self._remote.split("/")[:3])
        return {
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": f"http.{scope}/.extraheader",
            "GIT_CONFIG_VALUE_0": f"Authorization: {authorization}",
        }


_SSH = (
    "ssh", "-F/dev/null", "-oIdentityFile=none", "-oBatchMode=yes", "-oConnectTimeout=30",
    "-oServerAliveInterval=15", "-oServerAliveCountMax=4", "-oGlobalKnownHostsFile=/dev/null", "-oLogLevel=ERROR",
)  # fmt: skip


def _strict(known_hosts: str) -> str:
    return f"-oStrictHostKeyChecking={'yes' if known_hosts else 'accept-new'}"


def _settings(remote: str) -> list[str]:
    """Arguments of git."""
    settings = (
        # Submodules name places of this host only where the repository itself is one.
        f"protocol.file.allow={'always' if remote.startswith('file://') else 'user'}",
        "http.lowSpeedLimit=1",
        f"http.lowSpeedTime={_STALLED}",
        "safe.directory=*",
        # Nothing goes on in the background.
        "gc.auto=0",
        "maintenance.auto=false",
    )
    return [argument for setting in settings for argument in ("-c", setting)]


def _reason(err: bytes) -> str:
    lines = [line.strip() for line in err.decode("utf-8", "replace").splitlines() if line.strip()]
    told = [line for line in lines if line.startswith(("fatal:", "error:"))]
    reason = (told or lines or ["it gave no reason"])[0]
    if _SSH_FAILED in reason:
        # What ssh or the other side said of it stands before.
        reason = "; ".join(lines[: lines.index(reason)]) or reason
    return reason


def _unlock(mirror: Path) -> None:
    """Remove the locks of a git that was killed; whoever calls this has the mirror for himself."""
    for lock in (*mirror.glob("*.lock"), *mirror.glob("refs/**/*.lock")):
        lock.unlink(missing_ok=True)


def _strip(work: Path) -> None:
    """Leave the files only, of submodules, too."""
    for path in work.rglob(".git"):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _tidy(work: Path) -> None:
    """Take out of the `.git` directory what speaks of this host and this moment, and credentials."""
    directory = work / ".git"
    shutil.rmtree(directory / "logs", ignore_errors=True)
    (directory / "FETCH_HEAD").unlink(missing_ok=True)
    for config in directory.rglob("config"):
        text = config.read_text(errors="surrogateescape")
        config.write_text(address.shown(text), errors="surrogateescape")


def _move(source: Path, target: Path) -> None:
    """Everything in a directory to another one of the same file system; all of it belongs to root then."""
    for entry in os.scandir(source):
        os.rename(entry.path, target / entry.name)
    for directory, names, files in os.walk(target):
        for name in (*names, *files):
            os.lchown(os.path.join(directory, name), 0, 0)

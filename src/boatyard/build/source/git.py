"""The git source: `git://` and `https://….git` repositories, at a ref, through the system's git.

A bare mirror per remote is kept below the daemon's directory, so that a second build fetches only what is new. The
checkout becomes a layer. A vertex is told apart by the commit its ref names now, so asking the remote once per build is
enough.

Attributes: moby/buildkit `solver/pb/attr.go` (git.fullurl, git.keepgitdir, git.checksum, git.skipsubmodules ...).
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from weakref import WeakValueDictionary

from boatyard.build.requester import Requester
from boatyard.build.result import LayersResult, Result
from boatyard.build.solver.types import CacheMap, StepContext
from boatyard.build.source import address
from boatyard.errors import IntegrityError, InvalidError, NotFoundError, UnavailableError, UnsupportedError
from boatyard.image.layer.store import LayerStore

_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_SCP = re.compile(r"(?P<user>[\w.-]+)@(?P<host>[\w.-]+):(?P<path>(?!//).+)")
_STALLED = 60
"""Seconds without a byte after which an HTTP server counts as stalled."""
_TURNS: WeakValueDictionary[Path, asyncio.Lock] = WeakValueDictionary()
"""One at a time fetches into a mirror, whichever build it is for."""
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


class GitStep:
    """The op of one git vertex in one build."""

    def __init__(
        self, identifier: str, attrs: Mapping[str, str], requester: Requester, layers: LayerStore, directory: Path
    ) -> None:
        for name in _UNSUPPORTED:
            if attrs.get(name):
                raise UnsupportedError(f"the git source's attribute {name} is not supported yet")
        fragment = identifier.partition("://")[2].partition("#")[2]
        full = attrs.get("git.fullurl") or identifier.partition("#")[0]
        self._url = parse(f"{full}#{fragment}" if fragment else full)
        self._shown = address.shown(self._url.remote)
        self._attrs = attrs
        self._requester = requester
        self._layers = layers
        self._mirror = directory / "git" / hashlib.sha256(self._url.remote.encode()).hexdigest()[:32]
        self._commit = ""
        self._found_as = ""
        self._turn = _TURNS.setdefault(self._mirror, asyncio.Lock())

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
        text = await self._git("ls-remote", "--", self._url.remote, *names, *(f"{name}^{{}}" for name in names))
        lines = (line.split("\t", 1) for line in text.splitlines() if "\t" in line)
        found = {name: commit for commit, name in lines}
        for name in names:
            # A tag's own object is not the commit it stands for: the peeled name is.
            for spelling in (f"{name}^{{}}", name):
                if spelling in found:
                    self._found_as = name
                    return found[spelling]
        if re.fullmatch(r"[0-9a-f]{7,40}", ref):
            return await self._abbreviated(ref)
        raise NotFoundError(
            f"{self._shown} has no branch or tag {ref or 'HEAD'!r}",
            hint=f"`git ls-remote {self._shown}` lists them",
        )

    async def _abbreviated(self, ref: str) -> str:
        async with self._turn:
            await self._fetch("+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*", depth=0)
        return (await self._git("rev-parse", "--verify", f"{ref}^{{commit}}", at=self._mirror)).strip()

    async def execute(self, step: StepContext, inputs: Sequence[Result]) -> Sequence[Result]:
        step.status("fetching")
        await self._fetch_commit()
        step.status("fetching", done=True)
        active = self._layers.snapshotter.prepare()
        target = self._layers.snapshotter.directory(active)
        work = self._mirror.parent / f"work-{os.urandom(8).hex()}"
        try:
            await self._check_out(work)
            await asyncio.to_thread(_move, self._picked(work), target)
            layer = await asyncio.to_thread(self._layers.add, active)
        except BaseException:
            self._layers.snapshotter.remove(active)
            raise
        finally:
            await asyncio.to_thread(shutil.rmtree, work, ignore_errors=True)
        return [LayersResult((layer,), self._layers)]

    async def _fetch_commit(self) -> None:
        async with self._turn:
            if not await self._has(self._commit):
                await self._fetch_new()

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
            await self._git("init", "--quiet", "--template=", "--bare", str(self._mirror))
        limit = [f"--depth={depth}"] if depth else []
        await self._git(
            "fetch", "--quiet", "--no-write-fetch-head", *limit, "--", self._url.remote, *refs, at=self._mirror
        )

    async def _check_out(self, work: Path) -> None:
        await self._git("init", "--quiet", "--template=", str(work))
        await self._git("fetch", "--quiet", "--depth=1", "--", str(self._mirror), self._commit, at=work)
        await self._git("remote", "add", "origin", self._url.remote, at=work)
        await self._git("-c", "advice.detachedHead=false", "checkout", "--quiet", "FETCH_HEAD", at=work)
        if self._attrs.get("git.skipsubmodules") != "true" and (work / ".gitmodules").exists():
            await self._update_submodules(work)
        if self._keep_git_dir and self._found_as.startswith(("refs/heads/", "refs/tags/")):
            await self._git("update-ref", self._found_as, "HEAD", at=work)
        if self._keep_git_dir:
            await asyncio.to_thread(_tidy, work / ".git")
        else:
            for path in work.rglob(".git"):
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                else:
                    path.unlink()

    async def _update_submodules(self, work: Path) -> None:
        update = ("submodule", "update", "--quiet", "--init", "--recursive")
        try:
            await self._git(*update, "--depth=1", at=work)
        except UnavailableError:
            # Not every server gives parts of a history, or a commit by its name.
            await self._git("submodule", "deinit", "--quiet", "--force", "--all", at=work)
            shutil.rmtree(work / ".git/modules", ignore_errors=True)
            await self._git(*update, at=work)

    def _picked(self, work: Path) -> Path:
        path = work / self._url.subdir
        # A symlink in the repository must not lead out of the checkout.
        if not path.is_dir() or not path.resolve().is_relative_to(work.resolve()):
            raise NotFoundError(f"{self._shown} has no directory {self._url.subdir!r} at {self._commit[:12]}")
        return path

    async def _git(self, *arguments: str, at: Path | None = None) -> str:
        """Run git without anything of the daemon's own configuration or terminal in the way."""
        environment = {
            **{
                name: value
                for name, value in os.environ.items()
                if not name.startswith("GIT_") or name == "GIT_SSL_CAINFO"
            },
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_CONFIG_NOSYSTEM": "1",
            "HOME": "/nonexistent",
            "LC_ALL": "C",
            **await self._credentials(),
        }
        program = shutil.which("git")
        if program is None:
            raise UnavailableError("git repositories need git, which isn't installed", hint="apt-get install git")
        process = await asyncio.create_subprocess_exec(
            program,
            "-c",
            # Submodules name places of this host only where the repository itself is one.
            f"protocol.file.allow={'always' if self._url.remote.startswith('file://') else 'user'}",
            "-c",
            "http.lowSpeedLimit=1",
            "-c",
            f"http.lowSpeedTime={_STALLED}",
            "-c",
            "safe.directory=*",
            *arguments,
            cwd=at,
            env=environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            out, err = await process.communicate()
        except asyncio.CancelledError:
            process.kill()
            await process.wait()
            raise
        if process.returncode:
            raise UnavailableError(
                f"git {arguments[0]} failed for {self._shown}: {address.shown(_reason(err))}",
                hint="does the repository exist, and may this build read it? "
                "See --secret id=GIT_AUTH_TOKEN and --ssh default",
            )
        return out.decode("utf-8", "surrogateescape")

    async def _credentials(self) -> dict[str, str]:
        """Authentication as configuration in the environment: never on the command line, where others could read it."""
        settings: list[tuple[str, str]] = []
        header = await self._requester.secret(self._attrs.get("git.authheadersecret", "GIT_AUTH_HEADER"))
        token = await self._requester.secret(self._attrs.get("git.authtokensecret", "GIT_AUTH_TOKEN"))
        if header is None and token is not None:
            import base64

            header = b"basic " + base64.b64encode(b"x-access-token:" + token.strip())
        if header is not None and self._url.remote.startswith(("https://", "http://")):
            scope = "/".join(self._url.remote.split("/")[:3])
            settings.append((f"http.{scope}/.extraheader", f"Authorization: {header.decode().strip()}"))
        environment = {"GIT_CONFIG_COUNT": str(len(settings))}
        for number, (key, value) in enumerate(settings):
            environment[f"GIT_CONFIG_KEY_{number}"] = key
            environment[f"GIT_CONFIG_VALUE_{number}"] = value
        if socket := await self._requester.ssh_agent(self._attrs.get("git.mountsshsock", "default")):
            environment["SSH_AUTH_SOCK"] = socket
            known = self._attrs.get("git.knownsshhosts", "")
            check = "yes" if known else "accept-new"
            environment["GIT_SSH_COMMAND"] = f"ssh -o StrictHostKeyChecking={check} -o BatchMode=yes"
        return environment


def _reason(err: bytes) -> str:
    lines = [line.strip() for line in err.decode("utf-8", "replace").splitlines() if line.strip()]
    told = [line for line in lines if line.startswith(("fatal:", "error:"))]
    return (told or lines or ["it gave no reason"])[0]


def _tidy(directory: Path) -> None:
    """Take out of a `.git` directory what speaks of this host and this moment, and credentials."""
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

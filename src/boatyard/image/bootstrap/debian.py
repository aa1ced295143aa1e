"""A minimal Debian base image, made by mmdebstrap from the archive the host's apt uses (or a mirror that is named).

The same inputs and SOURCE_DATE_EPOCH give the same digest: mmdebstrap clamps the times, and what it takes over from the
host (name, resolver, logs, caches) is left out.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from boatyard.errors import BoatyardError, InvalidError, NotFoundError, UnavailableError, UnsupportedError
from boatyard.image.bootstrap import sources
from boatyard.image.bootstrap.files import LayerFiles
from boatyard.image.bootstrap.program import run_program
from boatyard.image.interruption import run_settled
from boatyard.image.platform import Platform
from boatyard.image.reference import Reference
from boatyard.image.snapshot.area import remove_tree
from boatyard.image.spec import RunConfig

RELEASES = {"10": "buster", "11": "bullseye", "12": "bookworm", "13": "trixie", "14": "forky", "latest": "stable"}
_ARCHITECTURES = {
    "amd64": "amd64",
    "arm64": "arm64",
    "386": "i386",
    "ppc64le": "ppc64el",
    "s390x": "s390x",
    "riscv64": "riscv64",
    "arm/v7": "armhf",
    "arm/v6": "armel",
    "arm/v5": "armel",
    "mips64le": "mips64el",
}
"""The OCI's architecture, with the variant where that tells, to Debian's. Not every release has each."""

# What a container image is not read in: documentation but the licences, manuals, translations.
_SLIM = (
    "path-exclude=/usr/share/doc/*",
    "path-include=/usr/share/doc/*/copyright",
    "path-exclude=/usr/share/man/*",
    "path-exclude=/usr/share/info/*",
    "path-exclude=/usr/share/groff/*",
    "path-exclude=/usr/share/lintian/*",
    "path-exclude=/usr/share/linda/*",
    "path-exclude=/usr/share/locale/*",
)
_APT = (
    # No lists in other languages, none kept compressed twice, no packages kept once they are installed.
    'Acquire::Languages "none"',
    'Acquire::GzipIndexes "true"',
    'APT::AutoRemove::SuggestsImportant "false"',
    'Binary::apt::APT::Keep-Downloaded-Packages "false"',
)
_LEFT_OUT = (
    "etc/hostname",
    "etc/resolv.conf",
    "etc/machine-id",
    "var/lib/dbus/machine-id",
    "var/cache/ldconfig/aux-cache",
    "var/log/alternatives.log",
    "var/log/apt/history.log",
    "var/log/apt/term.log",
    "var/log/apt/eipp.log.xz",
    "var/log/bootstrap.log",
    "var/log/dpkg.log",
    "var/cache/debconf/config.dat-old",
    "var/cache/debconf/templates.dat-old",
    "var/lib/dpkg/diversions-old",
    "var/lib/dpkg/status-old",
)


@dataclass(frozen=True, slots=True)
class DebianRecipe:
    """What to make. `mirror` "" takes the host's own apt sources; `variant` is mmdebstrap's."""

    suite: str
    slim: bool
    platform: Platform
    variant: str = "minbase"
    mirror: str = ""
    include: tuple[str, ...] = ()


CONFIG = RunConfig(
    env=("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",), cmd=("bash",), working_dir="/"
)


def recipe(reference: Reference, platform: Platform, *, suite: str = "", **choices: object) -> DebianRecipe:
    """From an image name: `debian:bookworm-slim`, `debian:12`, `debian` ..."""
    tag = reference.tag or "latest"
    slim = tag.endswith("-slim")
    suite = suite or tag.removesuffix("-slim")
    return DebianRecipe(suite=RELEASES.get(suite, suite), slim=slim, platform=platform, **choices)  # type: ignore[arg-type]


_SUITE = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+_-]*")
_MIRROR = re.compile(r"[a-z][a-z0-9+.-]*:[^\s\[\]]+")
_PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]*(:[a-z0-9-]+)?(=[A-Za-z0-9.+:~-]+|/[A-Za-z0-9.+_-]+)?")
_VARIANT = re.compile(r"[a-z][a-z-]*")


def check(recipe: DebianRecipe) -> None:
    """InvalidError for values that aren't what they should be: some of them stand where mmdebstrap takes options."""
    for what, value, pattern, hint in (
        ("suite", recipe.suite, _SUITE, "a release's name, such as bookworm"),
        ("variant", recipe.variant, _VARIANT, "minbase, standard, buildd ..."),
        ("mirror", recipe.mirror or "http://x", _MIRROR, "a URL, such as http://mirror.example/debian"),
        *(("package", name, _PACKAGE, "Debian package names, separated by commas") for name in recipe.include),
    ):
        if not pattern.fullmatch(value):
            raise InvalidError(f"{value!r} is no {what}", hint=f"give {hint}")


async def make(recipe: DebianRecipe, files: LayerFiles, epoch: int | None, log: Callable[[bytes], None]) -> RunConfig:
    """Fill a layer. Takes some 15 s and 40 MB of downloads. Raises what `failure` makes of mmdebstrap's last lines."""
    check(recipe)
    tool = _mmdebstrap()
    environment = {**os.environ, "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}
    if epoch is not None:
        environment["SOURCE_DATE_EPOCH"] = str(epoch)
    # What mmdebstrap makes lies in here, too, so that it goes even when mmdebstrap is killed.
    directory = Path(await run_settled(tempfile.mkdtemp, prefix="boat-bootstrap-"))
    try:
        directory.chmod(0o755)  # apt downloads as a user of its own
        code, said = await run_program(
            _command(tool, recipe, directory),
            environment={**environment, "TMPDIR": str(directory)},
            directory=directory,
            log=log,
            take=files.unpack,
        )
        if code:
            raise failure(said)
    finally:
        await run_settled(remove_tree, str(directory))
    await run_settled(_finish, files)
    return CONFIG


async def unpack_package(package: str, platform: Platform, directory: Path, log: Callable[[bytes], None]) -> None:
    """The files of one package and of what it needs, of any architecture, into a new directory `root` in `directory`,
    which may be read by all. None of its programs is run."""
    recipe = DebianRecipe(sources.own_suite(), slim=False, platform=platform, variant="extract", include=(package,))
    command = _command(_mmdebstrap(), recipe, directory, into=directory / "root")
    environment = {**os.environ, "LC_ALL": "C.UTF-8", "TMPDIR": str(directory)}
    code, said = await run_program(command, environment=environment, directory=directory, log=log)
    if code:
        raise failure(said)


def _mmdebstrap() -> str:
    tool = shutil.which("mmdebstrap")
    if tool is None:
        raise NotFoundError("making a Debian base image needs mmdebstrap", hint="apt-get install mmdebstrap")
    return tool


def _finish(files: LayerFiles) -> None:
    for name in _LEFT_OUT:
        files.remove(name)
    files.write("etc/machine-id", b"", 0o444)


def _command(tool: str, recipe: DebianRecipe, directory: Path, into: Path | None = None) -> list[str]:
    """A tar on standard output, or a directory to be made."""
    full = str(recipe.platform).partition("/")[2]
    architecture = _ARCHITECTURES.get(full) or _ARCHITECTURES.get(recipe.platform.architecture)
    if recipe.platform.os != "linux" or architecture is None:
        raise InvalidError(
            f"Debian has no release for {recipe.platform}", hint=f"it has: {', '.join(sorted(_ARCHITECTURES))}"
        )
    command = [tool, f"--variant={recipe.variant}", f"--architectures={architecture}"]
    command.append("--format=directory" if into else "--format=tar")
    target = str(into or "-")
    # It asks a program of another package whether emulation works; who calls this knows.
    command.append("--skip=check/qemu")
    command += [f"--dpkgopt={option}" for option in (_SLIM if recipe.slim else ())]
    command += [f"--aptopt={option}" for option in _APT]
    command += [f"--aptopt={path}" for path in _host_options()]
    if recipe.include:
        command.append(f"--include={','.join(recipe.include)}")
    if recipe.mirror:
        return [*command, recipe.suite, target, recipe.mirror]
    listed = directory / "sources.list"
    listed.write_text("".join(f"{source.line()}\n" for source in sources.for_suite(recipe.suite)))
    return [*command, recipe.suite, target, str(listed)]


def _host_options(etc: Path = Path("/etc")) -> list[Path]:
    """The host's apt settings that decide whether its archive can be reached: proxies, certificates, dates."""
    wanted = ("Acquire::", "Dir::Etc::Trusted")
    return [
        path
        for path in sorted((etc / "apt/apt.conf.d").glob("*"))
        if path.is_file() and any(line.startswith(wanted) for line in path.read_text(errors="replace").splitlines())
    ]


_FAILURES: tuple[tuple[str, type[BoatyardError], str], ...] = (
    ("Unable to locate package", NotFoundError, "correct --include"),
    ("does not have a Release file", NotFoundError, "is that the name of a release? See --suite and --mirror"),
    ("indextargets output is empty", NotFoundError, "not every release has every architecture: see --arch and --suite"),
    ("invalid variant", InvalidError, "choose one of them with --variant"),
    ("unable to pick chroot mode", UnsupportedError, "start the daemon as root"),
    ("Exec format error", UnsupportedError, "boat platform install"),
)
_SUMMARIES = ("E: apt-get ", "E: setup failed", "E: mmdebstrap failed")


def failure(output: str) -> BoatyardError:
    """What mmdebstrap's last lines mean. Its own summaries at the end only say which command failed."""
    lines = output.splitlines()
    told = [line for line in lines if line.startswith(("E:", "W:")) and not line.startswith(_SUMMARIES)] or lines[-5:]
    message = "mmdebstrap failed: " + "\n".join(line.removeprefix("E: ") for line in told)[-2000:]
    for sign, kind, hint in _FAILURES:
        if sign in message:
            return kind(message, hint=hint)
    return UnavailableError(message, hint="can this host's apt reach its archive? Try: apt-get update")

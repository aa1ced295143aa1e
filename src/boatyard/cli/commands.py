"""Which commands there are, where each lives, and what help says of it: read without importing any of them.

A command's module is imported when that command is run (or its own help asked for), so that `boat build` never pays for
`boat doctor`. A test checks that every entry exists and that its text is the one its module shows.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Entry(NamedTuple):
    """Where a command is: `module:attribute`, or a table of sub-commands."""

    target: str
    summary: str
    table: Mapping[str, Entry] | None = None
    aliases: tuple[str, ...] = ()
    section: str = ""


def _group(summary: str, table: Mapping[str, Entry], *aliases: str, section: str = "") -> Entry:
    return Entry("", summary, table, aliases, section)


_INIT: Mapping[str, Entry] = {
    "run": Entry("boatyard.cli.boot.command:run", "Boot: what is done once, then services"),
    "prepare": Entry("boatyard.cli.boot.command:prepare", "Check a definition, and get its images"),
}

_IMAGE: Mapping[str, Entry] = {
    "ls": Entry("boatyard.cli.image.listing:images", "List images", aliases=("list",)),
    "inspect": Entry("boatyard.cli.image.inspect:inspect", "Show everything known of images"),
    "history": Entry("boatyard.cli.image.history:history", "Show the steps an image was made by"),
    "rm": Entry("boatyard.cli.image.change:rm", "Remove images", aliases=("remove",)),
    "tag": Entry("boatyard.cli.image.change:tag", "Give an image another name"),
    "save": Entry("boatyard.cli.image.archive:save", "Write images to an archive"),
    "load": Entry("boatyard.cli.image.archive:load", "Read images from an archive"),
    "import": Entry("boatyard.cli.image.archive:import_", "Make an image of a tar of files"),
    "build": Entry("boatyard.cli.build.command:build", "Build an image"),
    "prune": Entry("boatyard.cli.image.change:prune", "Remove images that nothing names"),
}

_CACHE_MOUNT: Mapping[str, Entry] = {
    "ls": Entry("boatyard.cli.builder.cachemount:ls", "List cache mounts", aliases=("list",)),
    "export": Entry("boatyard.cli.builder.cachemount:export", "Write a cache mount's files to a tar archive"),
    "import": Entry("boatyard.cli.builder.cachemount:import_", "Fill a cache mount from a tar archive"),
    "rm": Entry("boatyard.cli.builder.cachemount:rm", "Remove cache mounts", aliases=("remove",)),
}

_BUILDER: Mapping[str, Entry] = {
    "du": Entry("boatyard.cli.builder.usage:du", "Show what the build cache takes"),
    "prune": Entry("boatyard.cli.builder.usage:prune", "Remove build cache"),
    "history": Entry("boatyard.cli.builder.history:history", "List past builds", aliases=("ls",)),
    "logs": Entry("boatyard.cli.builder.history:logs", "Show the log of a build"),
    "cancel": Entry("boatyard.cli.builder.history:cancel", "End running builds"),
    "debug": Entry("boatyard.cli.builder.debug:debug", "Open a shell at a step of a past build"),
    "cache-mount": _group("Manage the files of RUN --mount=type=cache", _CACHE_MOUNT),
    "build": Entry("boatyard.cli.build.command:build", "Build an image"),
}

_DAEMON: Mapping[str, Entry] = {
    "status": Entry("boatyard.cli.daemon:status", "Show whether boatd runs, and how it is doing"),
    "stop": Entry("boatyard.cli.daemon:stop", "Stop boatd"),
    "logs": Entry("boatyard.cli.daemon:logs", "Show boatd's log"),
}

_MANIFEST: Mapping[str, Entry] = {
    "inspect": Entry(
        "boatyard.cli.registry.direct:manifest_inspect", "Show a manifest or index as its registry has it"
    ),
}

_REGISTRY_USER: Mapping[str, Entry] = {
    "add": Entry("boatyard.cli.registry.accounts:user_add", "Add a user"),
    "ls": Entry("boatyard.cli.registry.accounts:user_ls", "List users", aliases=("list",)),
    "rm": Entry(
        "boatyard.cli.registry.accounts:user_rm", "Remove a user and all tokens of theirs", aliases=("remove",)
    ),
    "password": Entry("boatyard.cli.registry.accounts:user_password", "Set a user's password"),
    "allow": Entry("boatyard.cli.registry.accounts:user_allow", "Set what a user may do, in place of what that was"),
    "disable": Entry("boatyard.cli.registry.accounts:user_disable", "Let a user in no more, from the next request on"),
    "enable": Entry("boatyard.cli.registry.accounts:user_enable", "Let a user in again"),
    "two-factor": Entry(
        "boatyard.cli.registry.accounts:user_two_factor", "Ask a user for a one-time password at each login"
    ),
}

_REGISTRY_TOKEN: Mapping[str, Entry] = {
    "create": Entry(
        "boatyard.cli.registry.accounts:token_create",
        "Make an access token, which is used in place of a password. It is shown this once",
    ),
    "ls": Entry(
        "boatyard.cli.registry.accounts:token_ls", "List access tokens, of one user or of all", aliases=("list",)
    ),
    "revoke": Entry("boatyard.cli.registry.accounts:token_revoke", "Make an access token worthless, at once"),
}

_REGISTRY: Mapping[str, Entry] = {
    "serve": Entry("boatyard.cli.registry.serve:serve", "Serve a registry: OCI distribution 1.1, from a directory"),
    "gc": Entry("boatyard.cli.registry.serve:gc", "Remove what no manifest needs, while the registry may be serving"),
    "user": _group("Manage the users of a registry on this machine", _REGISTRY_USER),
    "token": _group("Manage the access tokens of its users", _REGISTRY_TOKEN),
}

_PLATFORM: Mapping[str, Entry] = {
    "install": Entry("boatyard.cli.platform:install", "Run programs of other architectures in builds and containers"),
    "ls": Entry("boatyard.cli.platform:ls", "List platforms", aliases=("list",)),
    "uninstall": Entry("boatyard.cli.platform:uninstall", "Let the kernel forget emulators"),
}

COMMANDS: Mapping[str, Entry] = {
    "build": Entry("boatyard.cli.build.command:build", "Build an image from a Dockerfile", section="Common"),
    "bake": Entry("boatyard.cli.bake.command:bake", "Build the targets of a bake or compose file", section="Common"),
    "run": Entry("boatyard.cli.run.command:run", "Run a command in a new container", section="Common"),
    "images": Entry("boatyard.cli.image.listing:images", "List images", section="Common"),
    "bootstrap": Entry("boatyard.cli.bootstrap:bootstrap", "Make a base image without a registry", section="Common"),
    "image": _group("Manage images", _IMAGE, section="Management"),
    "builder": _group("Manage builds and their cache", _BUILDER, section="Management"),
    "daemon": _group("Manage boatd", _DAEMON, section="Management"),
    "platform": _group("Run programs of other architectures", _PLATFORM, section="Management"),
    "pull": Entry("boatyard.cli.registry.transfer:pull", "Fetch an image from its registry", section="Common"),
    "push": Entry("boatyard.cli.registry.transfer:push", "Send an image to its registry", section="Common"),
    "login": Entry("boatyard.cli.registry.direct:login", "Log in to a registry", section="Registries"),
    "logout": Entry("boatyard.cli.registry.direct:logout", "Forget credentials", section="Registries"),
    "copy": Entry("boatyard.cli.registry.direct:copy", "Copy an image between registries", section="Registries"),
    "tags": Entry("boatyard.cli.registry.direct:tags", "List the tags of a repository", section="Registries"),
    "registry": _group("Run a registry", _REGISTRY, section="Registries"),
    "manifest": _group("Look at manifests in registries", _MANIFEST, section="Registries"),
    "logs": Entry("boatyard.cli.logs.read:logs", "Show log lines that memlogd has", section="Logs and boot"),
    "init": _group("Boot in two phases", _INIT, section="Logs and boot"),
    "logd": Entry("boatyard.cli.logs.daemon:logd", "Keep log lines in memory", section="Logs and boot"),
    "tag": Entry("boatyard.cli.image.change:tag", "Give an image another name", section="Images"),
    "rmi": Entry("boatyard.cli.image.change:rm", "Remove images", section="Images"),
    "history": Entry("boatyard.cli.image.history:history", "Show the steps an image was made by", section="Images"),
    "save": Entry("boatyard.cli.image.archive:save", "Write images to an archive", section="Images"),
    "load": Entry("boatyard.cli.image.archive:load", "Read images from an archive", section="Images"),
    "import": Entry("boatyard.cli.image.archive:import_", "Make an image of a tar of files", section="Images"),
    "doctor": Entry("boatyard.cli.doctor:doctor", "Say what works on this host, and what is missing", section="Other"),
    "diagnose": Entry(
        "boatyard.cli.diagnose.command:diagnose",
        "Collect logs, kernel messages, versions, configuration and what `boat doctor` says into one archive",
        section="Other",
    ),
    "completion": Entry(
        "boatyard.cli.completion.command:completion", "Print a shell's completion script", section="Other"
    ),
    "version": Entry("boatyard.cli.version:version", "Show versions of boat and boatd", section="Other"),
}

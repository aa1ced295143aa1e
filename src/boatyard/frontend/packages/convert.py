"""From a recipe to states: one step for each kind of packages, one for all files.

Downloads are kept in caches that outlive the build. What changes seldom comes first.
"""

from __future__ import annotations

import posixpath
import shlex
from collections.abc import Iterator

from boatyard.frontend.action import Action, copy, make_directory, make_file
from boatyard.frontend.bridge import BaseImage
from boatyard.frontend.context import Context
from boatyard.frontend.mount import cache
from boatyard.frontend.packages.document import Text
from boatyard.frontend.packages.recipe import Account, Copied, Recipe
from boatyard.frontend.place import Place
from boatyard.frontend.result import Image
from boatyard.frontend.state import State
from boatyard.image.platform import Platform

VENV = "/opt/venv"
"""Debian's own Python takes no packages from elsewhere."""

_APT = (
    "rm -f /etc/apt/apt.conf.d/docker-clean && apt-get update && "
    "DEBIAN_FRONTEND=noninteractive apt-get -o APT::Keep-Downloaded-Packages=true "
    "-o Binary::apt-get::APT::Keep-Downloaded-Packages=true install -y --no-install-recommends"
)


def convert(recipe: Recipe, base: BaseImage, context: Context, platform: Platform) -> Image:
    state = base.state
    state = _apt(state, recipe, platform)
    state = _pip(state, recipe, platform)
    if recipe.user is not None and recipe.user.is_made:
        state = _account(state, recipe.user)
    state = _files(state, recipe, context)
    state = state.with_environment(recipe.environment)
    if recipe.directory:
        state = state.in_directory(recipe.directory)
    if recipe.user is not None:
        state = state.as_user(recipe.user.name)
    return Image.of(
        state,
        platform,
        base=base.config,
        entrypoint=recipe.entrypoint,
        command=recipe.command,
        labels=recipe.labels,
        ports=recipe.ports,
        volumes=recipe.volumes,
    )


def _apt(state: State, recipe: Recipe, platform: Platform) -> State:
    wanted = dict.fromkeys(package.value for package in recipe.apt)
    if recipe.pip:
        wanted |= dict.fromkeys(("python3", "python3-venv"))
    if not wanted:
        return state
    return state.run(
        f"{_APT} {shlex.join(wanted)}",
        mounts=[
            cache("/var/cache/apt", id=f"apt-archives-{platform}", sharing="locked"),
            cache("/var/lib/apt/lists", id=f"apt-lists-{platform}", sharing="locked"),
        ],
        name=f"install {len(wanted)} packages with apt: {' '.join(wanted)}",
        at=_lines(recipe.apt or recipe.pip),
    )


def _pip(state: State, recipe: Recipe, platform: Platform) -> State:
    if not recipe.pip:
        return state
    wanted = list(dict.fromkeys(package.value for package in recipe.pip))
    state = state.run(
        f"python3 -m venv {VENV} && {VENV}/bin/pip install --no-input --disable-pip-version-check {shlex.join(wanted)}",
        mounts=[cache("/root/.cache/pip", id=f"pip-{platform}")],
        name=f"install {len(wanted)} packages with pip: {' '.join(wanted)}",
        at=_lines(recipe.pip),
    )
    return state.with_environment({"PATH": f"{VENV}/bin:{state.environment.get('PATH', '/usr/bin:/bin')}"})


def _account(state: State, account: Account) -> State:
    words = ["useradd", "--no-log-init", "--create-home"]
    if account.id is not None:
        words += ["--uid", str(account.id)]
    if account.home:
        words += ["--home-dir", account.home]
    return state.run([*words, account.name], network="none", name=f"make the user {account.name}", at=account.at)


def _files(state: State, recipe: Recipe, context: Context) -> State:
    """All of them as one step. `build` has seen that they are there."""
    if not recipe.files:
        return state
    source = context.files(*(item.path for item in recipe.files if item.text is None))
    actions = [action for item in recipe.files for action in _actions(item, source)]
    first, last = recipe.files[0].at, recipe.files[-1].at
    name = f"put {len(recipe.files)} files in place: {' '.join(item.to for item in recipe.files)}"
    return state.file(*actions, name=name, at=first.file.place(first.start, last.end))


def _actions(item: Copied, source: State) -> Iterator[Action[State]]:
    if item.text is None:
        yield copy(source, item.path, item.to, owner=item.owner, mode=item.mode or None)
        return
    if (directory := posixpath.dirname(item.to)) != "/":
        yield make_directory(directory)
    yield make_file(item.to, item.text, mode=int(item.mode or "0644", 8), owner=item.owner)


def _lines(items: tuple[Text, ...]) -> Place:
    first, last = items[0].at, items[-1].at
    return first.file.place(first.start, last.end)

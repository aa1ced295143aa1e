from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import click
import pytest

from boatyard.cli.commands import COMMANDS
from boatyard.cli.completion import bash, fish, zsh
from boatyard.cli.console import Console
from boatyard.cli.group import load
from boatyard.cli.program import run
from boatyard.cli.reference import page
from boatyard.cli.tree import Command, walk

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "cli.md"
SCRIPTS = {"bash": bash.script, "zsh": zsh.script, "fish": fish.script}


@pytest.fixture(scope="module")
def commands() -> tuple[Command, ...]:
    return tuple(walk())


@pytest.mark.filterwarnings("error")
def test_every_entry_of_the_table_is_a_command_with_help() -> None:
    for command in walk():
        assert command.help, command.name
        assert command.summary, command.name
        assert all(option.help for option in command.options), command.name


def test_no_option_is_defined_twice_in_a_command(commands: tuple[Command, ...]) -> None:
    for command in commands:
        names = [name for option in command.options for name in option.names]
        assert len(names) == len(set(names)), command.name


def test_the_reference_page_is_what_the_commands_say(commands: tuple[Command, ...]) -> None:
    assert PAGE.read_text() == page(commands), "run: python -m boatyard.cli.reference docs/reference/cli.md"


def test_aliases_name_the_same_command() -> None:
    group = load("image", COMMANDS["image"])
    assert isinstance(group, click.Group)
    context = click.Context(group)
    assert group.get_command(context, "list") is group.get_command(context, "ls")


@pytest.mark.parametrize(
    ("words", "fix"),
    [
        (["biuld"], "did you mean `boat build`?"),
        (["image", "inspct"], "did you mean `boat image inspect`?"),
        (["frobnicate"], "`boat --help` lists the commands"),
        (["build", "--tga=x"], "--tag"),
        (["builder", "cache-mount", "exprt"], "did you mean `boat builder cache-mount export`?"),
        (["images", "--fromat=json"], "--format"),
    ],
)
def test_a_misspelt_word_is_answered_with_the_nearest(
    words: list[str], fix: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(Console({}), words) == 2
    told = capfd.readouterr()
    assert told.out == ""
    assert fix in told.err
    assert "--help` tells how it is used" in told.err


@pytest.mark.parametrize("shell", SCRIPTS)
def test_completion_knows_every_command_and_option(shell: str, commands: tuple[Command, ...]) -> None:
    script = SCRIPTS[shell](commands)
    for command in commands:
        assert command.name in script
        for option in command.options:
            for name in option.names:
                assert name.lstrip("-") in script


@pytest.mark.parametrize("shell", [shell for shell in SCRIPTS if shutil.which(shell)])
def test_completion_scripts_have_no_syntax_errors(shell: str, commands: tuple[Command, ...], tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text(SCRIPTS[shell](commands))
    checked = subprocess.run([shell, "-n", str(script)], capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stderr) == (0, "")


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["boat", "bui"], {"build", "builder"}),
        (["boat", "image", "in"], {"inspect"}),
        (["boat", "builder", "cache-mount", ""], {"ls", "export", "import", "rm"}),
        (["boat", "build", "--no-c"], {"--no-cache", "--no-cache-filter"}),
        (["boat", "build", "--progress", "t"], {"tty"}),
        (["boat", "build", "--progress", "=", "p"], {"plain"}),
        (["boat", "--debug", "build", "--targ"], {"--target"}),
        (["boat", "build", "-f", "sub/"], {"sub/file"}),
        (["boat", "rmi", "app"], {"app"}),
        (["boat", "rmi", "app", ":"], {"latest", "two"}),
        (["boat", "rmi", "app", ":", "t"], {"two"}),
    ],
)
def test_bash_completes(words: list[str], offered: set[str], commands: tuple[Command, ...], tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "file").touch()
    images = "app:latest app:two" if ":" in words else "app"
    quoted = " ".join(f"'{word}'" for word in words)
    program = f"""{bash.script(commands)}
        boat() {{ [[ $1 == images ]] && printf '%s\\n' {images}; true; }}
        compopt() {{ true; }}
        COMP_WORDS=({quoted}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); _boat; printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(["bash", "-c", program], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert set(done.stdout.split()) - {"sub", "file"} == offered
    assert done.stderr == ""

"""An SSH agent for the time of one build, holding the private keys that `--ssh ID=KEYFILE` names. OpenSSH's own
programs do the work."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from tempfile import TemporaryDirectory

from boatyard.errors import InvalidError, UnavailableError


@contextmanager
def key_agent(keys: Sequence[str], environment: Mapping[str, str]) -> Iterator[str]:
    """The path of the agent's socket. `ssh-add` may ask for a passphrase on the terminal."""
    with TemporaryDirectory(prefix="boat-agent-") as directory:
        socket = os.path.join(directory, "agent.sock")
        try:
            # Printing its settings is the last thing ssh-agent does before it serves.
            process = subprocess.Popen(
                ["ssh-agent", "-D", "-a", socket], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment
            )
        except OSError as error:
            raise UnavailableError(
                f"can't start ssh-agent for the keys of --ssh: {error.strerror}", hint="install openssh-client"
            ) from error
        with process:
            try:
                if process.stdout is not None:
                    process.stdout.readline()
                for key in keys:
                    _add(key, {**environment, "SSH_AUTH_SOCK": socket})
                yield socket
            finally:
                process.terminate()


def _add(key: str, environment: Mapping[str, str]) -> None:
    command = ["ssh-add", "--", key]
    added = subprocess.run(
        command, env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, check=False
    )
    if added.returncode:
        reason = " ".join(added.stderr.split()) or "ssh-add refused it"
        raise InvalidError(f"--ssh: can't load the key {key}: {reason}", hint="give a private key only you can read")

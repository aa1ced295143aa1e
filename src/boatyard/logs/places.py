"""Where LinuxKit's programs look for each other."""

from __future__ import annotations

LOG_SOCKET = "/var/run/linuxkit-external-logging.sock"
QUERY_SOCKET = "/var/run/memlogdq.sock"

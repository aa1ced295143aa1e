"""Times as the documents write them: RFC 3339, in UTC."""

from __future__ import annotations

import re
from datetime import UTC, datetime


def rfc3339(seconds: float) -> str:
    """Seconds since the epoch, to the microsecond."""
    return f"{datetime.fromtimestamp(seconds, UTC).isoformat().replace('+00:00', '')}Z"


def seconds(text: str) -> float:
    """Seconds since the epoch; 0 for what is no time. What is below a microsecond, which Python 3.11
    can't read, is cut."""
    try:
        return datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", text.replace("Z", "+00:00"))).timestamp()
    except ValueError:
        return 0.0

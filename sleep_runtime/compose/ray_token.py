"""The token that Ray asks of everybody who reaches its control plane."""

from __future__ import annotations

import os
import secrets
from pathlib import Path


def private_token(path: Path) -> None:
    """Make Ray's token for its owner only, before Ray makes one that everybody may read.

    Whoever has it may run code on the cluster. One that is there stays, and is closed.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        path.chmod(0o600)
        return
    with os.fdopen(handle, "w", encoding="ascii") as file:
        file.write(secrets.token_hex(32))

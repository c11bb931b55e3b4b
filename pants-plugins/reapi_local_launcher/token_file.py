"""Reading the file with the token for a server that somebody else runs."""

from __future__ import annotations

import re
from pathlib import Path

from reapi_local_launcher.launcher_error import LauncherError


def read_token(path: str | None, setting: str) -> str | None:
    """The token in a file; None if no file is named.

    Raises LauncherError, which names `setting` as the one to correct.
    """
    if path is None:
        return None
    try:
        token = Path(path).read_text(encoding="utf-8").strip()
        if re.fullmatch("[!-~]+", token):
            return token
        why = f"{path} holds no token: one word of ASCII characters"
    except (OSError, ValueError) as error:
        why = str(error)
    raise LauncherError("The server's token cannot be read.", f"{why}.", f"Correct {setting}.")

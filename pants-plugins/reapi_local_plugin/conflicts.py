"""What in a repository's own settings keeps Pants from using the server though it is wired.

Each answer is a sentence or two with the cure. Imports nothing of Pants.
"""

from __future__ import annotations

import platform
import sys
from collections.abc import Sequence
from typing import Any

from reapi_local_plugin import options as own_options
from reapi_local_plugin.other_auth_plugins import name_of, other_hook

# Where a sandbox has directories of its own.
_UNSEEN = ("/tmp/", "/var/tmp/", "/run/", "/dev/")
# Each release of Pants has one of the two.
_TOKENS = ("remote_oauth_bearer_token_path", "remote_oauth_bearer_token")


def obstacles(reapi: Any, pants: Any) -> list[str]:
    """To any use of it; `reapi` and `pants` hold the values of `[reapi]` and `[GLOBAL]`."""
    found = []
    if own_options.is_off(reapi):
        found.append("[reapi].mode is off, so Pants won't use the server; set it to cache.")
    other = other_hook(pants.backend_packages, pants.plugins)
    if other is not None:
        found.append(
            f"{name_of(other)} provides remote caching too, and reapi-local leaves it to it; "
            "remove one of the two backends."
        )
    if pants.remote_store_address is not None:
        found.append(_wins("remote_store_address", pants.remote_store_address))
    found += [
        f"[GLOBAL].{option} is set, which Pants doesn't allow together with a plugin that brings a "
        "token; remove it."
        for option in _TOKENS
        if getattr(pants, option, None) is not None
    ]
    return found


def to_execution(
    pants: Any, environments: Sequence[str], machine: str = "", python: str = sys.executable
) -> list[str]:
    """To running processes there, beside the others.

    `environments`: the names of `[environments-preview]`; `machine`: as `platform.machine()` has
    it, which is the default; `python`: the interpreter that Pants runs on.
    """
    found = []
    if python.startswith(_UNSEEN):
        found.append(
            f"Pants runs on {python}, and its processes run on that too, but none of them sees "
            f"{', '.join(place.rstrip('/') for place in _UNSEEN)} of this machine. Keep Pants "
            "elsewhere: its launcher's place follows HOME and XDG_CACHE_HOME."
        )
    if pants.remote_execution_address is not None:
        found.append(_wins("remote_execution_address", pants.remote_execution_address))
    if environments:
        return found
    if pants.plugins:
        found.append(
            "[GLOBAL].plugins is set, and Pants itself fails if it has to install plugins while "
            "remote_execution is on (pantsbuild/pants#17262): every command would, `reapi-down` "
            "included. Load them from a directory instead, with pythonpath and backend_packages as "
            "`reapi-local init` does, or name environments in [environments-preview].names."
        )
    machine = machine or platform.machine()
    if machine.lower() not in ("x86_64", "amd64"):
        found.append(
            f"Pants takes every remote process to run on Linux on x86_64, and this is {machine}. "
            "Name a remote_environment target with the right platform in "
            "[environments-preview].names."
        )
    return found


def _wins(option: str, value: object) -> str:
    return (
        f"[GLOBAL].{option} is {value}, and what you set there wins; remove it to use this server."
    )

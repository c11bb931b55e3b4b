"""Settings of a repository that keep Pants from using the server although the plugin is loaded.

Each conflict is one or two sentences with the remedy. Imports nothing of Pants.
"""

from __future__ import annotations

import platform
import re
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from reapi_local_plugin import options as own_options
from reapi_local_plugin.build_server import other_provider
from reapi_local_plugin.other_auth_plugins import name_of, other_hook

# A sandbox has a directory of its own at this path, and shows nothing else in it.
_HIDDEN = "/dev/"
# Each release of Pants has one of the two.
_TOKENS = ("remote_oauth_bearer_token_path", "remote_oauth_bearer_token")


def conflicts(reapi: Any, pants: Any) -> list[str]:
    """Conflicts with any use of the server.

    `reapi` and `pants` hold the values of `[reapi]` and `[GLOBAL]`.
    """
    found = []
    if own_options.is_off(reapi):
        found.append("[reapi].mode is off, so Pants doesn't use the server; set it to cache.")
    other = other_hook(pants.backend_packages, pants.plugins)
    if other is not None:
        found.append(
            f"{name_of(other)} provides remote caching too, and reapi-local doesn't replace "
            "it; remove one of the two backends."
        )
    provider = other_provider(pants)
    if provider is not None:
        found.append(
            f"[GLOBAL].remote_provider is {provider}, and [GLOBAL] wins; remove it, and "
            "remote_store_address with it, to use this server."
        )
    elif pants.remote_store_address is not None:
        found.append(_wins("remote_store_address", pants.remote_store_address))
    found += [
        f"[GLOBAL].{option} is set, which Pants doesn't allow together with a plugin that brings a "
        "token; remove it."
        for option in _TOKENS
        if getattr(pants, option, None) is not None
    ]
    return found


def execution_conflicts(
    pants: Any, environments: Sequence[str], machine: str = "", python: str = sys.executable
) -> list[str]:
    """More conflicts, with running processes on the server.

    `environments`: the names in `[environments-preview]`. `machine`: the processor, named as
    `platform.machine()` does, which is the default. `python`: the interpreter that Pants runs on.
    """
    found = []
    if python.startswith(_HIDDEN):
        found.append(
            f"Pants runs on {python}, and so do its processes, but none of them sees /dev of this "
            "machine. Keep Pants elsewhere: HOME and XDG_CACHE_HOME say where its launcher puts it."
        )
    if pants.remote_execution_address is not None:
        found.append(_wins("remote_execution_address", pants.remote_execution_address))
    if environments:
        return found
    installed, instead = _installed_by_pants(pants)
    if installed:
        found.append(
            f"{installed}, and Pants itself fails if it has to install anything for plugins while "
            "remote_execution is on (pantsbuild/pants#17262): every command would, `reapi-down` "
            f"included. {instead}, or name environments in [environments-preview].names."
        )
    machine = machine or platform.machine()
    if machine.lower() not in ("x86_64", "amd64"):
        found.append(
            f"Pants assumes that every remote process runs on Linux on x86_64, and this is "
            f"{machine}. Name a remote_environment target with the right platform in "
            "[environments-preview].names."
        )
    return found


def _installed_by_pants(pants: Any) -> tuple[str, str]:
    """What Pants installs before any command, and what to do instead; "" if it installs nothing."""
    if pants.plugins:
        return "[GLOBAL].plugins is set", (
            "Load them from a directory instead, with pythonpath and backend_packages as "
            "`reapi-local init` does"
        )
    if _release(pants) >= (2, 18):
        for backend in pants.backend_packages:
            if _has_requirements(backend):
                return f"The backend {backend} has a requirements.txt", (
                    "Put what it needs into a directory of pythonpath instead"
                )
    return "", ""


def _has_requirements(backend: str) -> bool:
    """Whether packages are listed beside a backend, as Pants finds them since 2.18."""
    try:
        spec = find_spec(backend)
        if spec is None or spec.origin is None:
            return False
        lines = Path(spec.origin).with_name("requirements.txt").read_text().splitlines()
    except (ImportError, OSError, ValueError):
        return False
    return any(line.strip() and not line.lstrip().startswith("#") for line in lines)


def _release(pants: Any) -> tuple[int, ...]:
    """The release of Pants, as (2, 31)."""
    numbers = re.match(r"(\d+)\.(\d+)", str(getattr(pants, "pants_version", "")))
    return tuple(map(int, numbers.groups())) if numbers else (0, 0)


def _wins(option: str, value: object) -> str:
    return f"[GLOBAL].{option} is {value}, and [GLOBAL] wins; remove it to use this server."

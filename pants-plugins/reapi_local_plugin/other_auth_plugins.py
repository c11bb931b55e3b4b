"""The `remote_auth` hooks of other plugins: Pants silently uses only the one that it loads last.

Imports nothing of Pants.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, Callable, Optional

Hook = Callable[..., Any]
_OWN_PACKAGE = __name__.partition(".")[0]


def other_hook(backends: Sequence[str], plugins: Sequence[str]) -> Optional[Hook]:
    """The hook that Pants would use without ours; None if there is no other.

    It is the last one that Pants loads: first those of `plugins`, then those of `backends`.
    """
    candidates = [_of_plugin(plugin) for plugin in plugins] if plugins else []
    candidates += [_of_backend(backend) for backend in backends]
    others = [hook for hook in candidates if hook is not None and not _is_own(hook)]
    return others[-1] if others else None


def name_of(hook: Hook) -> str:
    """The module and name of a hook."""
    return f"{hook.__module__}.{hook.__name__}"


def _is_own(hook: Hook) -> bool:
    return hook.__module__.partition(".")[0] == _OWN_PACKAGE


def _of_backend(backend: str) -> Optional[Hook]:
    return getattr(sys.modules.get(f"{backend}.register"), "remote_auth", None)


def _of_plugin(requirement: str) -> Optional[Hook]:
    import re
    from importlib.metadata import PackageNotFoundError, distribution

    name = re.split(r"[^A-Za-z0-9._-]", requirement.strip(), maxsplit=1)[0]
    try:
        entry_points = distribution(name).entry_points
    except PackageNotFoundError:
        return None
    for entry_point in entry_points:
        if (entry_point.group, entry_point.name) == ("pantsbuild.plugin", "remote_auth"):
            hook: Hook = entry_point.load()
            return hook
    return None

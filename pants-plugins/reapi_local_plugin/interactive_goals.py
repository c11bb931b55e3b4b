"""Commands that Pants can't run while every process is remote: their processes are interactive.

Pants starts those on this machine alone. It finds that out at the first one, after all the work
that comes before it: tests are built, packages are published. Imports nothing of Pants.
"""

from __future__ import annotations

import shlex
import traceback
from collections.abc import Sequence
from typing import Any, Optional

from reapi_local_plugin.build_server import may_run_processes

LOCALLY = "--no-remote-execution"
# Each process of these that is not a step of the build is interactive.
_ALWAYS = ("run", "repl", "experimental-deploy")


def interactive_goal(options: Any) -> Optional[str]:
    """The goal of a command that would fail so, as one types it; None if no goal surely would.

    `options` is what Pants passes to the hook. Goals of other plugins aren't known, and `publish`
    may have nothing to do. With `[environments-preview].names` set, each target has an environment
    of its own, so nothing is sure.
    """
    try:
        if not options.for_global_scope().remote_execution or not may_run_processes(options):
            return None
        if options.for_scope("environments-preview").names:
            return None
        for goal in options.goals:
            found = goal if goal in _ALWAYS else _with_flag(options, goal)
            if found is not None:
                return str(found)
    except Exception:
        return None  # a release of Pants that has other options
    return None


def locally(goal: str) -> str:
    """The command line that repeats this command, with its processes on this machine.

    It has the arguments of the user, quoted for a shell; Pants before 2.25 has already replaced
    aliases. If the arguments can't be found, it has the goal and an ellipsis.
    """
    given = _arguments()
    if given is None:
        return f"pants {LOCALLY} {goal} …"
    end = given.index("--") if "--" in given else len(given)
    own = [each for each in given[:end] if each.partition("=")[0] != "--remote-execution"]
    return shlex.join(["pants", LOCALLY, *own, *given[end:]])


def _with_flag(options: Any, goal: str) -> Optional[str]:
    """The goal with the flag that makes its processes interactive; None if it has none."""
    if goal == "test":
        values = options.for_scope(goal)
        if values.debug_adapter:
            return "test --debug-adapter"
        return "test --debug" if values.debug else None
    if goal == "export":
        # Exporting a virtual environment of Python ends with commands on this machine.
        exported = {*options.for_scope(goal).resolve}
        is_python = exported.intersection(options.for_scope("python").resolves)
        return "export --resolve" if is_python else None
    return None


def _arguments() -> Optional[Sequence[str]]:
    """The arguments of this command, without the program's name; None if they can't be found.

    Pants passes them to no plugin, and `sys.argv` in its daemon is that of the daemon. But in every
    release from 2.17 to 2.34 the function of Pants that calls the hook knows them by this name.
    """
    for frame, _ in traceback.walk_stack(None):
        bootstrapper = frame.f_locals.get("options_bootstrapper")
        if bootstrapper is not None:
            args = getattr(bootstrapper, "args", None)
            return [str(each) for each in args[1:]] if isinstance(args, (list, tuple)) else None
    return None

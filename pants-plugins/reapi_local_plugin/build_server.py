"""The server that a build uses, and whether the build needs one. Imports nothing of Pants.

`options` is what Pants passes to the hook: the values of all options, and the goals of the command.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Optional, Union

from reapi_local_launcher.cli.terminal import showable
from reapi_local_launcher.server.execution_status import must_be_as_asked, must_be_offered
from reapi_local_launcher.server.launch import launch
from reapi_local_launcher.server.places import show_places
from reapi_local_launcher.server.presence import Condition, NotServing, explain, look
from reapi_local_launcher.server.running import Running
from reapi_local_launcher.server.server_status import execution_of
from reapi_local_launcher.server.timeouts import Timeouts
from reapi_local_launcher.server_settings import ServerSettings
from reapi_local_plugin import options as own_options
from reapi_local_plugin.search_paths import program_directories
from reapi_local_plugin.tls_conflicts import tls_conflicts

logger = logging.getLogger(__name__)

# A build without the server repeats all of its work, so one that really starts is worth a wait.
# One that has ended is known at once, and one that hangs after `start_s` or `other_s`.
TIMEOUTS = Timeouts(start_s=10.0, other_s=2.0, total_s=30.0)


class NoServerError(Exception):
    """There is no server for this command; the message says why, and what to do."""


def needs_server(options: Any) -> bool:
    """Whether this command sends processes to the server, so that it fails without one."""
    try:
        return bool(options.for_global_scope().remote_execution) and may_run_processes(options)
    except Exception:
        return False


def may_run_processes(options: Any) -> bool:
    """Whether this command may run processes: it has a goal that is not built in and not ours."""
    # The name changed with Pants 2.23.
    builtin = getattr(options, "builtin_or_auxiliary_goal", None) or getattr(
        options, "builtin_goal", None
    )
    if builtin is not None:
        return False
    goals = [*options.goals]
    return any(not goal.startswith("reapi-") for goal in goals)


def leaves_addresses_to_us(everything: Any) -> bool:
    """Whether [GLOBAL] leaves the addresses to the plugin.

    Raises NoServerError if processes run remotely and only one of the two addresses is set.
    """
    if not everything.remote_execution:
        return everything.remote_store_address is None
    given = (everything.remote_store_address, everything.remote_execution_address)
    if given.count(None) == 1:
        raise NoServerError(
            "[GLOBAL] sets only one of remote_store_address and remote_execution_address, and "
            "processes need both on one server. Set both, or neither to use your own server."
        )
    return None in given


def other_provider(everything: Any) -> Optional[str]:
    """The name of the remote cache that `[GLOBAL].remote_provider` chooses; None if it is ours.

    Pants has the option since 2.20, and from then on an answer of the hook has a provider too.
    """
    provider = getattr(everything, "remote_provider", None)
    name = getattr(provider, "value", provider)
    return None if name in (None, "reapi") else str(name)


def server_of(
    options: Any, reapi: Any, env: Mapping[str, str], build_root: Path
) -> tuple[str, Optional[str]]:
    """The address and the token of the server. Raises NoServerError or LauncherError."""
    if own_options.is_own_server(reapi):
        server = _own_server(options, reapi, env, build_root)
        return server.grpc_address, server.token
    return reapi.address, own_options.read_token(reapi.token_path)


def _log_progress(line: str) -> None:
    logger.info("%s", showable(line))


def _own_server(options: Any, reapi: Any, env: Mapping[str, str], build_root: Path) -> Running:
    """The user's own server, started if it may be. Raises NoServerError or LauncherError."""
    executes = needs_server(options)
    settings = own_options.launcher_settings(reapi, executes=executes)
    if reapi.autostart and may_run_processes(options):
        running = launch(settings, env, _log_progress, timeouts=TIMEOUTS)
    else:
        running = _found(look(settings, env), settings)
    untrusted = tls_conflicts(options.for_global_scope(), running.state)
    if untrusted:
        raise NoServerError(" ".join(untrusted))
    if executes:
        execution = execution_of(running, settings.labels)
        must_be_offered(execution, settings.labels)
        must_be_as_asked(execution, settings)
        unseen = show_places(running, build_root, program_directories(options))
        if unseen:
            logger.warning(
                "Processes on the server don't see this repository: %s", showable(unseen)
            )
    return running


def _found(found: Union[Running, NotServing], settings: ServerSettings) -> Running:
    """The server that runs. Raises NoServerError or LauncherError if none does."""
    if isinstance(found, Running):
        return found
    if found.condition is Condition.ABSENT:
        raise NoServerError(
            f"It isn't running, and [reapi].autostart is off. `{settings.labels.up}` starts it."
        )
    raise explain(found, settings.labels)

"""The hook that Pants calls before every command. It gives Pants the server's address and token.

It must be quick. It must not raise, because then even `reapi-down` would fail. But if the processes
of a build run on the server and there is none, Pants would fail at the first process without a
reason. So this hook ends such a build, with the reason and the remedy. It does the same with
commands that Pants can't run while its processes are remote.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn, Optional

from pants.base.build_root import BuildRoot

from reapi_local_launcher.cli.terminal import showable
from reapi_local_launcher.launcher_error import LauncherError
from reapi_local_plugin import options as own_options
from reapi_local_plugin.build_server import (
    NoServerError,
    leaves_addresses_to_us,
    may_run_processes,
    needs_server,
    other_provider,
    server_of,
)
from reapi_local_plugin.instance_name import instance_name
from reapi_local_plugin.interactive_goals import interactive_goal, locally
from reapi_local_plugin.other_auth_plugins import name_of, other_hook

try:
    from pants.option.bootstrap_options import AuthPluginResult, AuthPluginState
except ImportError:  # Pants before 2.29
    from pants.option.global_options import AuthPluginResult, AuthPluginState

logger = logging.getLogger(__name__)


def remote_auth(
    initial_execution_headers: Mapping[str, str],
    initial_store_headers: Mapping[str, str],
    options: Any,
    env: Mapping[str, str],
    prior_result: Optional[AuthPluginResult] = None,
    **kwargs: Any,
) -> AuthPluginResult:
    """The server's address, instance and token, or the state UNAVAILABLE if there is no server.

    If another plugin has a hook, which Pants ignores because it loaded ours later, then that hook
    gives the answer.

    Raises:
        SystemExit: to end a build that needs the server and has none, or a command that cannot run
            while processes are remote; the reason was logged before.
    """
    try:
        everything = options.for_global_scope()
        other = other_hook(everything.backend_packages, everything.plugins)
    except Exception:
        other = None
        logger.debug("the search for other hooks failed", exc_info=True)
    if other is not None:
        if may_run_processes(options):
            logger.warning(
                "%s provides remote caching too, so Pants doesn't use the reapi-local server. "
                "Remove one of the two backends.",
                name_of(other),
            )
        return other(
            initial_execution_headers=initial_execution_headers,
            initial_store_headers=initial_store_headers,
            options=options,
            env=env,
            prior_result=prior_result,
            **kwargs,
        )
    goal = interactive_goal(options)
    if goal is not None:
        _end_interactive(goal)
    store_headers, execution_headers = dict(initial_store_headers), dict(initial_execution_headers)
    found = None
    try:
        found = _answer(options, env, store_headers, execution_headers)
    except Exception as error:
        if needs_server(options):
            _end_build(f"reapi-local failed: {error!r}.")
        logger.warning("reapi-local failed, so Pants builds without it: %r", error)
    return found or AuthPluginResult(
        AuthPluginState.UNAVAILABLE, store_headers, execution_headers, plugin_name="reapi-local"
    )


def _answer(
    options: Any,
    env: Mapping[str, str],
    store_headers: dict[str, str],
    execution_headers: dict[str, str],
) -> Optional[AuthPluginResult]:
    """The answer to Pants, with the token added to both headers.

    None if there is no server; the reason was logged.

    Raises:
        SystemExit: this build needs one.
    """
    try:
        return _find(options, env, store_headers, execution_headers)
    except (NoServerError, LauncherError) as error:
        why = showable(str(error))
    if needs_server(options):
        _end_build(why)
    if may_run_processes(options):
        logger.warning("Building without the cache server. %s", why)
    return None


def _find(
    options: Any,
    env: Mapping[str, str],
    store_headers: dict[str, str],
    execution_headers: dict[str, str],
) -> Optional[AuthPluginResult]:
    """The answer to Pants; None if `mode` is off and nothing needs the server.

    Raises NoServerError or LauncherError.
    """
    reapi, everything = options.for_scope("reapi"), options.for_global_scope()
    executes = bool(everything.remote_execution)
    if own_options.is_off(reapi) and everything.remote_store_address is None:
        if executes:
            raise NoServerError("[reapi].mode is off; with `cache` Pants uses the server.")
        return None
    # What the user set in [GLOBAL] wins, and Pants warns about a second value for it.
    answer: dict[str, Any] = {}
    if other_provider(everything) is not None:
        _leave_to_other_provider(options, everything)
        answer["provider"] = everything.remote_provider
    elif leaves_addresses_to_us(everything):
        build_root = Path(BuildRoot().path)
        answer["store_address"], token = server_of(options, reapi, env, build_root)
        if executes:
            answer["execution_address"] = answer["store_address"]
        if everything.remote_instance_name is None:
            answer["instance_name"] = instance_name(reapi.instance, build_root)
        if token is not None:
            for headers in (store_headers, execution_headers):
                headers["authorization"] = f"Bearer {token}"
    return AuthPluginResult(
        AuthPluginState.OK, store_headers, execution_headers, plugin_name="reapi-local", **answer
    )


def _leave_to_other_provider(options: Any, everything: Any) -> None:
    """Warn that Pants uses the cache of [GLOBAL]. Raises NoServerError if it can't."""
    chosen = f"[GLOBAL].remote_provider is {other_provider(everything)}"
    if everything.remote_execution:
        raise NoServerError(f"{chosen}, which runs no processes. Remove it to use your own server.")
    if everything.remote_store_address is None:
        raise NoServerError(
            f"{chosen}, and remote_store_address isn't set. Remove the one to use your own server, "
            "or set the other."
        )
    if may_run_processes(options) and not own_options.is_off(options.for_scope("reapi")):
        logger.warning(
            "%s, and [GLOBAL] wins, so Pants doesn't use the reapi-local server. Remove it to use "
            "the server, or set [reapi].mode to off.",
            chosen,
        )


def _end_interactive(goal: str) -> NoReturn:
    """End a command that Pants itself would end later, without a way out."""
    logger.error(
        "Pants can't run `%s` while its processes run on a server, so nothing was done. Use: %s",
        goal,
        locally(goal),
    )
    raise SystemExit(1)


def _end_build(why: str) -> NoReturn:
    logger.error(
        "Pants is set to run processes on the reapi-local server, and can't. %s\n"
        "To build without it, add --no-remote-execution, or run `pants reapi-down`.",
        why,
    )
    # After any other exception Pants would also print a traceback.
    raise SystemExit(1)

"""The hook that Pants calls before every command: where the server is, and how to talk to it.

It must be quick, and it must not raise, for that would fail even `reapi-down`. But where Pants
sends processes to the server, a build can't do without one: Pants would go on to its first process
and fail there without a reason. Such a build is ended here, with the remedy.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn, Optional, Union

from pants.base.build_root import BuildRoot

from reapi_local_launcher.errors import LauncherError
from reapi_local_launcher.server.check import status_of
from reapi_local_launcher.server.execution import (
    execution_in,
    must_be_as_asked,
    must_be_offered,
)
from reapi_local_launcher.server.launch import NotReady, start_if_ready
from reapi_local_launcher.server.running import Running, find_running
from reapi_local_plugin import options as own_options
from reapi_local_plugin.instance import instance_name
from reapi_local_plugin.other_auth_plugins import name_of, other_hook

try:
    from pants.option.bootstrap_options import AuthPluginResult, AuthPluginState
except ImportError:  # Pants before 2.29
    from pants.option.global_options import AuthPluginResult, AuthPluginState

logger = logging.getLogger(__name__)

_PATIENCE_S, _PATIENCE_TO_EXECUTE_S = 2.0, 15.0


class _NoServerError(Exception):
    """Why there is no server for this command, and what to do."""


def remote_auth(
    initial_execution_headers: Mapping[str, str],
    initial_store_headers: Mapping[str, str],
    options: Any,
    env: Mapping[str, str],
    prior_result: Optional[AuthPluginResult] = None,
    **kwargs: Any,
) -> AuthPluginResult:
    """The server's address, instance and token; or that the build has to do without.

    Another plugin's hook, which ours replaced by being loaded later, is called instead of ours.

    Raises: SystemExit, having said why, to end a build that can't do without.
    """
    try:
        everything = options.for_global_scope()
        other = other_hook(everything.backend_packages, everything.plugins)
    except Exception:
        other = None
        logger.debug("could not look for other hooks", exc_info=True)
    if other is not None:
        if _builds(options):
            logger.warning(
                "%s provides remote caching too, and reapi-local leaves it to it. Remove one of "
                "the two backends to end this.",
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
    store_headers, execution_headers = dict(initial_store_headers), dict(initial_execution_headers)
    found = None
    try:
        found = _answer(options, env, store_headers, execution_headers)
    except Exception as error:
        if _needs_it(options):
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
    """What Pants needs to know of the server, its token put into the headers; None, said why, if
    there is none."""
    try:
        return _find(options, env, store_headers, execution_headers)
    except (_NoServerError, LauncherError) as error:
        why = str(error)
    if _needs_it(options):
        _end_build(why)
    if _builds(options):
        logger.warning("Building without the cache server. %s", why)
    return None


def _find(
    options: Any,
    env: Mapping[str, str],
    store_headers: dict[str, str],
    execution_headers: dict[str, str],
) -> Optional[AuthPluginResult]:
    """None if it's off and nothing needs it. Raises _NoServerError or LauncherError."""
    reapi, everything = options.for_scope("reapi"), options.for_global_scope()
    executes = bool(everything.remote_execution)
    if own_options.is_off(reapi):
        if executes:
            raise _NoServerError("[reapi].mode is off; `cache` lets Pants use the server.")
        return None
    # What the user set in [GLOBAL] wins, and naming it again would make Pants warn.
    store_address = execution_address = instance = None
    if everything.remote_instance_name is None:
        instance = instance_name(reapi.instance, Path(BuildRoot().path))
    if _leaves_addresses_to_us(everything):
        store_address, token = _server(options, reapi, env)
        execution_address = store_address if executes else None
        if token is not None:
            for headers in (store_headers, execution_headers):
                headers["authorization"] = f"Bearer {token}"
    return AuthPluginResult(
        AuthPluginState.OK,
        store_headers,
        execution_headers,
        store_address=store_address,
        execution_address=execution_address,
        instance_name=instance,
        plugin_name="reapi-local",
    )


def _leaves_addresses_to_us(everything: Any) -> bool:
    if not everything.remote_execution:
        return everything.remote_store_address is None
    given = (everything.remote_store_address, everything.remote_execution_address)
    if given.count(None) == 1:
        raise _NoServerError(
            "[GLOBAL] sets only one of remote_store_address and remote_execution_address, and "
            "processes need both on one server. Set both, or neither to use your own server."
        )
    return None in given


def _server(options: Any, reapi: Any, env: Mapping[str, str]) -> tuple[str, Optional[str]]:
    """Address and token of the server. Raises _NoServerError or LauncherError."""
    if own_options.is_own_server(reapi):
        server = _own_server(options, reapi, env)
        return server.grpc_address, server.token
    return reapi.address, own_options.read_token(reapi.token_path)


def _own_server(options: Any, reapi: Any, env: Mapping[str, str]) -> Running:
    executes = _needs_it(options)
    settings = own_options.launcher_settings(reapi, executes=executes)
    answer: Union[Running, NotReady, None]
    if reapi.autostart and _builds(options):
        patience_s = _PATIENCE_TO_EXECUTE_S if executes else _PATIENCE_S
        answer = start_if_ready(settings, env, patience_s)
    else:
        answer = find_running(settings, env)
    if isinstance(answer, Running):
        if executes:
            offer = execution_in(status_of(answer, settings.words))
            must_be_offered(offer, settings.words)
            must_be_as_asked(offer, settings)
        return answer
    if answer is not None:
        raise _NoServerError(f"{answer.reason} {answer.remedy}")
    raise _NoServerError(
        f"It isn't running, and [reapi].autostart is off. `{settings.words.up}` starts it."
    )


def _end_build(why: str) -> NoReturn:
    logger.error(
        "Pants is set to run processes on the reapi-local server, and can't. %s\n"
        "To build without it, add --no-remote-execution, or run `pants reapi-down`.",
        why,
    )
    # Pants ends with status 1 on it, where any other exception would add a traceback to that.
    raise SystemExit(1)


def _needs_it(options: Any) -> bool:
    """Whether this command sends processes to the server, so that it fails without."""
    try:
        return bool(options.for_global_scope().remote_execution) and _builds(options)
    except Exception:
        return False


def _builds(options: Any) -> bool:
    """Whether this command may run processes: not help, not version, not only our own goals."""
    # The name changed with Pants 2.23.
    builtin = getattr(options, "builtin_or_auxiliary_goal", None) or getattr(
        options, "builtin_goal", None
    )
    if builtin is not None:
        return False
    goals = [*options.goals]
    return any(not goal.startswith("reapi-") for goal in goals)

"""The hook that Pants calls before every command: where the server is, and how to talk to it.

It must not raise (that would fail even `reapi-down`) and must be quick.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Optional, Union

from pants.base.build_root import BuildRoot

from reapi_local_plugin import options as own_options
from reapi_local_plugin.instance import instance_name
from reapi_local_plugin.launcher.errors import LauncherError
from reapi_local_plugin.launcher.launch import NotReady, start_if_ready
from reapi_local_plugin.launcher.running import Running, find_running
from reapi_local_plugin.other_hooks import name_of, other_hook

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
    """The server's address, instance and token; or that the build has to do without.

    Another plugin's hook, which ours replaced by being loaded later, is called instead of ours.
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
        found = _find(options, env, store_headers, execution_headers)
    except Exception as error:
        logger.warning("reapi-local failed, so Pants builds without it: %r", error)
    return found or AuthPluginResult(
        AuthPluginState.UNAVAILABLE, store_headers, execution_headers, plugin_name="reapi-local"
    )


def _find(
    options: Any,
    env: Mapping[str, str],
    store_headers: dict[str, str],
    execution_headers: dict[str, str],
) -> Optional[AuthPluginResult]:
    reapi, everything = options.for_scope("reapi"), options.for_global_scope()
    if own_options.is_off(reapi):
        return None
    # What the user set in [GLOBAL] wins, and naming it again would make Pants warn.
    address = instance = None
    if everything.remote_store_address is None:
        address = _address(options, reapi, env, store_headers, execution_headers)
        if address is None:
            return None
    if everything.remote_instance_name is None:
        instance = instance_name(reapi.instance, Path(BuildRoot().path))
    return AuthPluginResult(
        AuthPluginState.OK,
        store_headers,
        execution_headers,
        store_address=address,
        instance_name=instance,
        plugin_name="reapi-local",
    )


def _address(
    options: Any,
    reapi: Any,
    env: Mapping[str, str],
    store_headers: dict[str, str],
    execution_headers: dict[str, str],
) -> Optional[str]:
    """The server's address, its token put into the headers; None, said why, if there is none."""
    address: str
    token: Optional[str]
    try:
        if own_options.is_own_server(reapi):
            server = _own_server(options, reapi, env)
            if server is None:
                return None
            address, token = server.grpc_address, server.token
        else:
            address, token = reapi.address, own_options.read_token(reapi.token_path)
    except LauncherError as error:
        _do_without(options, str(error))
        return None
    if token is not None:
        for headers in (store_headers, execution_headers):
            headers["authorization"] = f"Bearer {token}"
    return address


def _own_server(options: Any, reapi: Any, env: Mapping[str, str]) -> Optional[Running]:
    settings = own_options.launcher_settings(reapi)
    answer: Union[Running, NotReady, None]
    if reapi.autostart and _builds(options):
        answer = start_if_ready(settings, env)
    else:
        answer = find_running(settings, env)
    if isinstance(answer, Running):
        return answer
    why = f"{answer.reason} {answer.remedy}" if answer else _not_running(settings.words.up)
    _do_without(options, why)
    return None


def _do_without(options: Any, why: str) -> None:
    """Say why there is no server, to a command that would have used it."""
    if _builds(options):
        logger.warning("Building without the cache server. %s", why)


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


def _not_running(up: str) -> str:
    return f"It isn't running, and [reapi].autostart is off. `{up}` starts it."

"""The hook that Pants calls before every command. It gives Pants the server's address and token.

It must be quick. It must not raise, because then even `reapi-down` would fail. But if the processes
of a build run on the server and there is none, Pants would fail at the first process without a
reason. So this hook ends such a build, with the reason and the remedy.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn, Optional

from pants.base.build_root import BuildRoot

from reapi_local_launcher.launcher_error import LauncherError
from reapi_local_plugin import options as own_options
from reapi_local_plugin.build_server import (
    NoServerError,
    leaves_addresses_to_us,
    may_run_processes,
    needs_server,
    server_of,
)
from reapi_local_plugin.instance_name import instance_name
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
        SystemExit: to end a build that needs the server; the reason was logged before.
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
        why = str(error)
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
    if own_options.is_off(reapi):
        if executes:
            raise NoServerError("[reapi].mode is off; with `cache` Pants uses the server.")
        return None
    # What the user set in [GLOBAL] wins, and Pants warns about a second value for it.
    store_address = execution_address = instance = None
    if everything.remote_instance_name is None:
        instance = instance_name(reapi.instance, Path(BuildRoot().path))
    if leaves_addresses_to_us(everything):
        store_address, token = server_of(options, reapi, env)
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


def _end_build(why: str) -> NoReturn:
    logger.error(
        "Pants is set to run processes on the reapi-local server, and can't. %s\n"
        "To build without it, add --no-remote-execution, or run `pants reapi-down`.",
        why,
    )
    # After any other exception Pants would also print a traceback.
    raise SystemExit(1)

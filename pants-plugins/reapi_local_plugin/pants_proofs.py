"""Proofs about Pants itself: it is set to use the server, and its last run did.

Imports nothing of Pants.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Optional
from urllib.parse import urlencode

from reapi_contract import admin_api, proof
from reapi_contract.proof import Proof
from reapi_local_launcher.launcher_error import LauncherError
from reapi_local_launcher.server import admin_client as admin
from reapi_local_launcher.server.execution_status import must_be_as_asked, must_be_offered
from reapi_local_launcher.server.running import Running
from reapi_local_launcher.server.server_status import execution_of
from reapi_local_launcher.server_settings import ServerSettings
from reapi_local_plugin.counted_run import CountedRun
from reapi_local_plugin.pants_config.switches import PARALLELISM, SWITCHES

_UNUSABLE = (
    "Outputs were missing for Pants. If remote_store_batch_load_enabled is on in [GLOBAL], turn it "
    "off and build again; -ldebug shows what Pants asked for."
)


def configured(
    pants: Any,
    environments: Sequence[str],
    settings: ServerSettings,
    running: Optional[Running],
    conflicts: Sequence[str],
) -> Proof:
    """Whether Pants is set to use the server, and for what.

    `pants` holds the values of `[GLOBAL]`. `running`: None if the user's own server does not run,
    or if somebody else runs it. `conflicts`: why Pants would not use it.
    """
    name = proof.CONFIGURED
    if conflicts:
        return Proof(name, False, 0.0, "Pants doesn't use this server", " ".join(conflicts))
    executes = bool(pants.remote_execution)
    off = [switch for switch in SWITCHES if not getattr(pants, switch)]
    off_text = f"off in [GLOBAL]: {', '.join(off)}"
    if len(off) == len(SWITCHES) and not executes:
        remedy = (
            f"Run `{settings.labels.up}`, which turns them on in .pants.rc unless the "
            "repository's own configuration says otherwise."
        )
        return Proof(name, False, 0.0, off_text, remedy)
    detail = "Pants is configured to use it"
    if executes:
        try:
            detail += f" {_execution_detail(pants, environments, settings, running)}"
        except LauncherError as error:
            return Proof(name, False, 0.0, f"{error.what} {error.why}", error.remedy)
    # If only one switch is off, the user wanted that: for example, only CI may write.
    return Proof(name, True, 0.0, detail + (f", but {off_text}" if off else ""))


def _execution_detail(
    pants: Any,
    environments: Sequence[str],
    settings: ServerSettings,
    running: Optional[Running],
) -> str:
    """Which processes run on the server. Raises LauncherError if it does not run them as asked."""
    what = "processes of remote_environment targets" if environments else "every process"
    at_once = getattr(pants, PARALLELISM)
    if running is not None:
        execution = execution_of(running, settings.labels)
        must_be_offered(execution, settings.labels)
        must_be_as_asked(execution, settings)
        at_once = min(at_once, execution.slots)
    return f"for {what}, {at_once} at once"


def last_run(
    running: Running, instance: str, settings: ServerSettings, counted: CountedRun
) -> Proof:
    """Whether Pants could use what the server answered to the last run that asked for results.

    `counted`: what Pants counted in its last run.
    """
    began = time.monotonic()
    try:
        query = urlencode({"limit": 1, "instance": instance})
        runs = admin_api.runs_from(running.call("GET", f"{admin_api.RUNS}?{query}"))
    except admin.AdminError as error:
        remedy = f"Run `{settings.labels.up}`."
        return Proof(proof.LAST_RUN, False, 0.0, str(error), remedy)
    milliseconds = 1000 * (time.monotonic() - began)
    detail = "no run has asked for anything yet"
    if runs:
        unusable = counted.unusable_hits(runs[0])
        if unusable:
            detail = f"the server answered {runs[0].hits} hits, but Pants could not use {unusable}"
            return Proof(proof.LAST_RUN, False, milliseconds, detail, _UNUSABLE)
        detail = f"the last run used it: {runs[0].hits} hits, {runs[0].misses} misses"
    return Proof(proof.LAST_RUN, True, milliseconds, detail)

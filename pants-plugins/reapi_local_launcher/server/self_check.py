"""Proofs that the user's own server works: it is reachable, and its own round trips succeed."""

from __future__ import annotations

from dataclasses import replace

from reapi_contract import admin_api, proof
from reapi_contract.data_dir import LOG_FILE
from reapi_contract.proof import Proof, proofs_from
from reapi_local_launcher.labels import Labels
from reapi_local_launcher.server import admin_client as admin
from reapi_local_launcher.server.presence import NotServing, explain
from reapi_local_launcher.server.running import Running

_MAX_S = 120.0
"""More than all round trips may take together, each of which has a limit of its own."""


def check(
    running: Running | NotServing, labels: Labels, instance: str, timeout_s: float = _MAX_S
) -> list[Proof]:
    """The proofs for one instance of a running server.

    The first one says whether the server is reachable; there is no other if none serves.
    """
    if isinstance(running, NotServing):
        why = explain(running, labels)
        return [Proof(proof.REACHABLE, False, 0.0, f"{why.what} {why.why}", why.remedy)]
    where = f"{running.grpc_address}, process {running.pid}, version {running.version}"
    reachable = Proof(proof.REACHABLE, True, running.milliseconds, where)
    try:
        answer = running.call("POST", admin_api.CHECK, admin_api.check_request(instance), timeout_s)
        return [reachable, *(_exact(one, running, labels) for one in proofs_from(answer))]
    except (admin.AdminError, ValueError) as error:
        remedy = _restart(running, labels)
        return [reachable, Proof(proof.SELF_CHECK, False, 0.0, str(error), remedy)]


def _exact(one: Proof, running: Running, labels: Labels) -> Proof:
    """A proof whose remedy names the commands and settings of this server."""
    if one.remedy == proof.RESTART:
        return replace(one, remedy=_restart(running, labels))
    if one.remedy == proof.NO_ROOM:
        remedy = f"Raise {labels.max_size} ({labels.restart}), or wait until running builds end."
        return replace(one, remedy=remedy)
    return one


def _restart(running: Running, labels: Labels) -> str:
    log = f"{running.state.data_dir}/{LOG_FILE}"
    return f"Restart the server: {labels.restart}. Its log is {log}."

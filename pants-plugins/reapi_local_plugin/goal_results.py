"""What each goal did, for its report. Imports nothing of Pants."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Optional

from reapi_contract.admin_api import ExecutionStatus
from reapi_contract.proof import Proof
from reapi_local_launcher.server.running import Running
from reapi_local_plugin.pants_config.switches import ConfigChange


@dataclass(frozen=True)
class Up:
    """The result of `reapi-up`.

    `running`: None for a server that somebody else runs. `execution`: None if Pants uses the
    server as a cache only. `config`: the change of `.pants.rc`. `conflicts`: why Pants does not
    use the server in spite of that; with `--execution` they are errors instead.
    """

    address: str
    instance: str
    running: Optional[Running]
    execution: Optional[ExecutionStatus]
    config: ConfigChange
    proofs: Sequence[Proof]
    notes: Sequence[str]
    conflicts: Sequence[str] = ()

    @property
    def ok(self) -> bool:
        return all(proof.ok for proof in self.proofs)


@dataclass(frozen=True)
class Checked:
    """The result of `reapi-check`: the proofs, in the order in which they were tried."""

    proofs: Sequence[Proof]

    @property
    def ok(self) -> bool:
        return all(proof.ok for proof in self.proofs)


@dataclass(frozen=True)
class Down:
    """The result of `reapi-down`.

    `stopped`: whether a server was running. `executing`: the number of processes that builds had
    running on it.
    """

    stopped: bool
    config: ConfigChange
    executing: int = 0
    ok: bool = True


@dataclass(frozen=True)
class Why:
    """The result of `reapi-explain`: the server's answer, and whether to show all of it."""

    answer: dict[str, Any]
    details: bool
    ok: bool = True

"""Makes the process to run from a job, at the job's turn, when its sandbox is known."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Final

from reapi_local.execute.job import Job
from reapi_local.execute.local.named_caches import NamedCaches
from reapi_local.execute.local.policy import Policy
from reapi_local.execute.sandbox.action_paths import HOME
from reapi_local.execute.sandbox.interface import ProcessSpec

_DEFAULT_ENVIRONMENT: Final = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": HOME,
}
_NO_CACHES: Final = nullcontext(None)


class ProcessEnvironment:
    """Gives jobs their variables, network and named caches."""

    def __init__(self, policy: Policy, caches: NamedCaches) -> None:
        self._policy, self._caches = policy, caches

    def caches(self, job: Job) -> AbstractContextManager[str | None]:
        """The directory of the named caches of a job, for as long as its process runs.

        None if its client has no such caches.
        """
        if job.profile.expects_host_access:
            return self._caches.use(job.context.instance)
        return _NO_CACHES

    def bind(
        self, job: Job, input_root: str, layers: tuple[str, ...], caches: str | None
    ) -> ProcessSpec:
        """The process of a job, whose input root consists of ``layers``.

        ``input_root`` is its path inside the sandbox; ``caches`` is what :meth:`caches` gave.
        """
        command = job.profile.with_input_root(job.command, input_root)
        return ProcessSpec(
            arguments=command.arguments,
            environment={**_DEFAULT_ENVIRONMENT, **command.environment},
            working_directory=command.working_directory,
            layers=layers,
            directories=job.directories,
            network=self._policy.has_network(command, job.profile),
            caches=caches,
        )

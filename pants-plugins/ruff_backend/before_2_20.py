"""`ruff check`, `ruff check --fix` and `ruff format` on the Pants releases before 2.20.

The backend that those bring calls ruff without the subcommands that it now requires. Its options
and its choice of files are used here; only the command lines are ours.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pants.backend.python.lint.ruff import skip_field, subsystem
from pants.backend.python.lint.ruff.subsystem import Ruff, RuffFieldSet
from pants.backend.python.util_rules import pex
from pants.backend.python.util_rules.pex import PexRequest, VenvPex, VenvPexProcess
from pants.core.goals.fix import FixResult, FixTargetsRequest
from pants.core.goals.fmt import FmtResult, FmtTargetsRequest
from pants.core.goals.lint import LintResult, LintTargetsRequest
from pants.core.util_rules.config_files import ConfigFiles, ConfigFilesRequest
from pants.core.util_rules.partitions import PartitionerType
from pants.core.util_rules.source_files import SourceFiles, SourceFilesRequest
from pants.engine.fs import Digest, MergeDigests
from pants.engine.internals.native_engine import Snapshot
from pants.engine.process import FallibleProcessResult
from pants.engine.rules import Get, MultiGet, Rule, collect_rules, rule
from pants.engine.unions import UnionRule
from pants.util.logging import LogLevel
from pants.util.meta import classproperty


class RuffFailedError(Exception):
    """Ruff could not do its work; the message is its own."""


class CheckRequest(LintTargetsRequest):
    field_set_type = RuffFieldSet
    tool_subsystem = Ruff
    partitioner_type = PartitionerType.DEFAULT_SINGLE_PARTITION

    @classproperty
    def tool_name(self) -> str:
        return "ruff check"


class FixRequest(FixTargetsRequest):
    field_set_type = RuffFieldSet
    tool_subsystem = Ruff
    partitioner_type = PartitionerType.DEFAULT_SINGLE_PARTITION

    @classproperty
    def tool_name(self) -> str:
        return "ruff check --fix"


class FormatRequest(FmtTargetsRequest):
    field_set_type = RuffFieldSet
    tool_subsystem = Ruff
    partitioner_type = PartitionerType.DEFAULT_SINGLE_PARTITION

    @classproperty
    def tool_name(self) -> str:
        return "ruff format"


@dataclass(frozen=True)
class RuffRun:
    """One run of ruff: its subcommand with flags, and the files it reads and may change."""

    command: tuple[str, ...]
    files: Snapshot


@rule
async def run_ruff(request: RuffRun, ruff: Ruff) -> FallibleProcessResult:
    ruff_pex, config = await MultiGet(
        Get(VenvPex, PexRequest, ruff.to_pex_request()),
        Get(ConfigFiles, ConfigFilesRequest, ruff.config_request(request.files.dirs)),
    )
    inputs = await Get(Digest, MergeDigests((request.files.digest, config.snapshot.digest)))
    return await Get(
        FallibleProcessResult,
        VenvPexProcess(
            ruff_pex,
            argv=(*request.command, "--force-exclude", *ruff.args, *request.files.files),
            input_digest=inputs,
            output_files=request.files.files,
            description=f"Run ruff {' '.join(request.command)}.",
            level=LogLevel.DEBUG,
        ),
    )


def _or_raise(result: FallibleProcessResult) -> FallibleProcessResult:
    if result.exit_code:
        raise RuffFailedError((result.stdout + result.stderr).decode(errors="replace"))
    return result


@rule(desc="Lint with ruff", level=LogLevel.DEBUG)
async def ruff_check(request: CheckRequest.Batch[RuffFieldSet, Any]) -> LintResult:
    sources = await Get(SourceFiles, SourceFilesRequest(each.source for each in request.elements))
    result = await Get(FallibleProcessResult, RuffRun(("check",), sources.snapshot))
    return LintResult.create(request, result, strip_chroot_path=True)


@rule(desc="Fix with ruff", level=LogLevel.DEBUG)
async def ruff_fix(request: FixRequest.Batch) -> FixResult:
    command = ("check", "--fix", "--exit-zero")
    result = await Get(FallibleProcessResult, RuffRun(command, request.snapshot))
    return await FixResult.create(request, _or_raise(result), strip_chroot_path=True)


@rule(desc="Format with ruff", level=LogLevel.DEBUG)
async def ruff_format(request: FormatRequest.Batch) -> FmtResult:
    result = await Get(FallibleProcessResult, RuffRun(("format",), request.snapshot))
    return await FmtResult.create(request, _or_raise(result), strip_chroot_path=True)


def rules() -> Iterable[Rule | UnionRule]:
    return (
        *collect_rules(),
        *CheckRequest.rules(),
        *FixRequest.rules(),
        *FormatRequest.rules(),
        *pex.rules(),
        *skip_field.rules(),
        *subsystem.rules(),
    )

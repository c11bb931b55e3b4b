"""The goals `reapi-up`, `reapi-check`, `reapi-explain` and `reapi-down`.

They ask Pants' engine for singletons only. So they run on every release of Pants, and none of their
work goes to a remote server.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from pathlib import Path
from typing import Any, Callable

from pants.base.build_root import BuildRoot
from pants.engine.console import Console
from pants.engine.env_vars import CompleteEnvironmentVars
from pants.engine.goal import Goal, GoalSubsystem
from pants.engine.internals.session import SessionValues
from pants.engine.rules import collect_rules, goal_rule
from pants.option.global_options import GlobalOptions
from pants.option.option_types import BoolOption, EnumOption, StrOption

from reapi_local_launcher.cli.report import error_json, error_text
from reapi_local_launcher.cli.terminal import Style, showable, write_json
from reapi_local_launcher.launcher_error import LauncherError
from reapi_local_plugin import goal_report
from reapi_local_plugin.goal_runner import GoalRunner
from reapi_local_plugin.instance_name import instance_name
from reapi_local_plugin.subsystem import ReapiSubsystem

try:
    from pants.core.environments.subsystems import EnvironmentsSubsystem
except ImportError:  # Pants before 2.28
    from pants.core.util_rules.environments import EnvironmentsSubsystem


class Format(Enum):
    text = "text"
    json = "json"


_FORMAT: dict[str, Any] = {
    "default": Format.text,
    "help": "`text` for people, `json` for programs.",
}


class ReapiUpSubsystem(GoalSubsystem):
    name = "reapi-up"
    help = (
        "Start the local Remote Execution API server, if it isn't running, and make Pants use it "
        "from the next command on: as its remote cache, and with `--execution` to run every "
        "process too."
    )
    format = EnumOption(**_FORMAT)
    execution = BoolOption(
        default=False,
        help=(
            "Run every process in the server's sandbox, and keep the results as without it. This "
            "lasts until `reapi-up` without `--execution`, which makes the server a cache again, "
            "or `reapi-down`. Interactive commands, such as `run`, `repl` and `test --debug`, then "
            "need the flag `--no-remote-execution`."
        ),
    )


class ReapiUp(Goal):
    subsystem_cls = ReapiUpSubsystem
    environment_behavior = Goal.EnvironmentBehavior.LOCAL_ONLY


class ReapiCheckSubsystem(GoalSubsystem):
    name = "reapi-check"
    help = (
        "Prove, by trying it, that the local Remote Execution API server works and that Pants "
        "uses it. If a proof fails, exit with 1 and say what to do."
    )
    format = EnumOption(**_FORMAT)


class ReapiCheck(Goal):
    subsystem_cls = ReapiCheckSubsystem
    environment_behavior = Goal.EnvironmentBehavior.LOCAL_ONLY


class ReapiExplainSubsystem(GoalSubsystem):
    name = "reapi-explain"
    help = (
        "Say why processes of a run were executed and did not come from the cache: which file, "
        "variable, argument or option differs from the time before."
    )
    format = EnumOption(**_FORMAT)
    run = StrOption(
        default="",
        help="The run to explain, as `reapi-local runs` names it. Unset: the last one.",
    )
    process = StrOption(
        default="",
        help=(
            "Explain only processes whose description, target or action has this text, with all "
            "that differs."
        ),
    )
    details = BoolOption(default=False, help="Name all causes of each process.")


class ReapiExplain(Goal):
    subsystem_cls = ReapiExplainSubsystem
    environment_behavior = Goal.EnvironmentBehavior.LOCAL_ONLY


class ReapiDownSubsystem(GoalSubsystem):
    name = "reapi-down"
    help = (
        "Stop the local Remote Execution API server and remove what `reapi-up` wrote into "
        "`.pants.rc`. Everything stored stays."
    )
    format = EnumOption(**_FORMAT)
    kill = BoolOption(
        default=False, help="Kill a server that doesn't answer; nothing stored is lost."
    )


class ReapiDown(Goal):
    subsystem_cls = ReapiDownSubsystem
    environment_behavior = Goal.EnvironmentBehavior.LOCAL_ONLY


@goal_rule
async def reapi_up(
    console: Console,
    goal: ReapiUpSubsystem,
    reapi: ReapiSubsystem,
    global_options: GlobalOptions,
    environments: EnvironmentsSubsystem,
    build_root: BuildRoot,
    session: SessionValues,
) -> ReapiUp:
    runner = _runner(reapi, global_options, environments, build_root, session)
    code = _Output(console, goal.format).attempt(
        lambda: runner.up(_progress_to(console), execution=goal.execution),
        goal_report.up_text,
        goal_report.up_json,
    )
    return ReapiUp(exit_code=code)


@goal_rule
async def reapi_check(
    console: Console,
    goal: ReapiCheckSubsystem,
    reapi: ReapiSubsystem,
    global_options: GlobalOptions,
    environments: EnvironmentsSubsystem,
    build_root: BuildRoot,
    session: SessionValues,
) -> ReapiCheck:
    runner = _runner(reapi, global_options, environments, build_root, session)
    code = _Output(console, goal.format).attempt(
        lambda: runner.check(_progress_to(console)),
        goal_report.check_text,
        goal_report.check_json,
    )
    return ReapiCheck(exit_code=code)


@goal_rule
async def reapi_explain(
    console: Console,
    goal: ReapiExplainSubsystem,
    reapi: ReapiSubsystem,
    global_options: GlobalOptions,
    environments: EnvironmentsSubsystem,
    build_root: BuildRoot,
    session: SessionValues,
) -> ReapiExplain:
    runner = _runner(reapi, global_options, environments, build_root, session)
    code = _Output(console, goal.format).attempt(
        lambda: runner.explain(goal.run, goal.process, details=goal.details),
        goal_report.explain_text,
        goal_report.explain_json,
    )
    return ReapiExplain(exit_code=code)


@goal_rule
async def reapi_down(
    console: Console,
    goal: ReapiDownSubsystem,
    reapi: ReapiSubsystem,
    global_options: GlobalOptions,
    environments: EnvironmentsSubsystem,
    build_root: BuildRoot,
    session: SessionValues,
) -> ReapiDown:
    runner = _runner(reapi, global_options, environments, build_root, session)
    output = _Output(console, goal.format)
    code = output.attempt(
        lambda: runner.down(kill=goal.kill), goal_report.down_text, goal_report.down_json
    )
    return ReapiDown(exit_code=code)


def _runner(
    reapi: ReapiSubsystem,
    global_options: GlobalOptions,
    environments: EnvironmentsSubsystem,
    build_root: BuildRoot,
    session: SessionValues,
) -> GoalRunner:
    root, pants = Path(build_root.path), global_options.options
    named = pants.remote_instance_name  # what the user sets in [GLOBAL] wins
    return GoalRunner(
        reapi=reapi,
        pants=pants,
        environments=[*environments.names],
        build_root=root,
        # The environment of this command: the daemon's is that of the command which started it.
        env=session[CompleteEnvironmentVars],
        instance=instance_name(reapi.instance, root) if named is None else named,
    )


def _progress_to(console: Console) -> Callable[[str], None]:
    return lambda line: console.print_stderr(showable(line))


class _Output:
    """Shows the result of a goal, or why it failed.

    Pants fails to write what UTF-8 cannot encode, and then runs the goal again and again.
    """

    def __init__(self, console: Console, wanted: Format) -> None:
        self._write = lambda text: console.write_stdout(showable(text))
        self._style = Style(colour=console.use_colors)
        self._json = wanted is Format.json

    def attempt(
        self,
        run: Callable[[], Any],
        as_text: Callable[..., None],
        as_json: Callable[[Any], Any],
    ) -> int:
        """Run the goal and show its result; returns the exit code, 0 for success."""
        try:
            result = run()
        except LauncherError as error:
            if self._json:
                write_json(error_json(error), self._write)
            else:
                error_text(error, self._write, self._style)
            return 1
        if self._json:
            write_json(as_json(result), self._write)
        else:
            as_text(result, self._write, self._style)
        return 0 if result.ok else 1


def rules() -> Iterable[Any]:
    return collect_rules()

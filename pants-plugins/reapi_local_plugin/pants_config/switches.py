"""The switches in `.pants.rc` that make Pants use the server, unless the repository sets them.

Pants calls the plugin's hook only if one of the switches is on. Imports nothing of Pants.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from reapi_contract.admin_api import ExecutionStatus
from reapi_local_launcher.launcher_error import LauncherError
from reapi_local_plugin.pants_config import pants_rc
from reapi_local_plugin.pants_config.edit import EditError, Plan
from reapi_local_plugin.pants_config.git_ignore import is_ignored
from reapi_local_plugin.pants_config.global_table import OptionValue, global_options, toml_value
from reapi_local_plugin.pants_config.toml_document import TomlError

SWITCHES = ("remote_cache_read", "remote_cache_write")
EXECUTION = "remote_execution"
CACHES = "remote_execution_append_only_caches_base_path"
PARALLELISM = "process_execution_remote_parallelism"
_FILE = ".pants.rc"


@dataclass(frozen=True)
class ConfigChange:
    """How `.pants.rc` was changed.

    `written`: our lines that are now in it, and `added`: those that were not in it before.
    `removed`: our lines that were taken out. `kept`: settings that the user made, as "key = value
    in file". `notes`: sentences for the user. `executes`: Pants sends processes to the server, as
    far as the configuration files say.
    """

    path: Path
    written: Sequence[str] = ()
    added: Sequence[str] = ()
    removed: Sequence[str] = ()
    kept: Sequence[str] = ()
    notes: Sequence[str] = ()
    executes: bool = False


def settings_for(execution: ExecutionStatus | None) -> dict[str, OptionValue]:
    """The options of [GLOBAL] that make Pants use a server, by name.

    With `execution` Pants runs processes on it; without, the server is a cache only.
    """
    wanted: dict[str, OptionValue] = dict.fromkeys(SWITCHES, True)
    if execution is None:
        return wanted
    wanted[EXECUTION] = True
    # Without this, each process that builds a Python environment starts with empty caches.
    if execution.caches:
        wanted[CACHES] = execution.caches
    # Pants tells tools to use this many cores, and its own default is 128.
    wanted[PARALLELISM] = execution.slots
    return wanted


def switch_on(
    build_root: Path, config_files: Sequence[str], execution: ExecutionStatus | None = None
) -> ConfigChange:
    """Turn on the switches that the user has not set; with `execution` also to run processes.

    `config_files`: the names of the files that Pants reads as its configuration.

    Raises:
        LauncherError: `.pants.rc` cannot be edited; the remedy has the lines to put in by hand.
    """
    path, wanted = build_root / _FILE, settings_for(execution)
    given = _given(build_root, config_files)
    plan = _edit(path, {key: value for key, value in wanted.items() if key not in given})
    kept = {key: given[key] for key in wanted if key in given}
    kept.update((key, (value, _FILE)) for key, value in plan.kept.items())
    notes = _left(plan)
    if any(wanted[key] is True and value != "true" for key, (value, _) in kept.items()):
        notes.append(
            "The repository sets a switch to another value than true. The value is kept, so this "
            "use of the server stays off."
        )
    if plan.written and is_ignored(build_root, _FILE) is False:
        notes.append(
            f"git doesn't ignore {_FILE}. It is for this machine: add `/{_FILE}` to .gitignore."
        )
    return ConfigChange(
        path=path,
        written=plan.written,
        added=plan.added,
        removed=plan.removed,
        kept=[f"{key} = {value} in {file}" for key, (value, file) in kept.items()],
        notes=notes,
        executes=execution is not None and kept.get(EXECUTION, ("true", ""))[0] == "true",
    )


def switch_off(build_root: Path, config_files: Sequence[str] = ()) -> ConfigChange:
    """Take our lines out of `.pants.rc`; `kept` are the user's own switches, which stay on.

    Raises:
        LauncherError: `.pants.rc` cannot be edited.
    """
    path = build_root / _FILE
    plan = _edit(path, None)
    given = _given(build_root, [file for file in config_files if Path(file).name != _FILE])
    kept = [
        f"{key} = true in {given[key][1]}"
        for key in (*SWITCHES, EXECUTION)
        if given.get(key, ("", ""))[0] == "true"
    ]
    notes = _left(plan)
    if kept:
        notes.append(
            "The repository's own configuration turns the server on, so the next build starts it "
            'again. To build without it, set `[reapi].mode = "off"`, or use --reapi-mode=off for '
            "one command."
        )
    return ConfigChange(path, removed=plan.removed, kept=kept, notes=notes)


def _edit(path: Path, wanted: Mapping[str, OptionValue] | None) -> Plan:
    """Put our block with the wanted settings into the file; None takes the block out."""
    try:
        plan = pants_rc.remove_block(path) if wanted is None else pants_rc.put_block(path, wanted)
    except EditError as error:
        what = f"{_FILE} was not changed."
        raise LauncherError(what, str(error), "Then run it again.") from error
    if plan.refusal is not None:
        lines = "".join(f"\n    {line}" for line in plan.paste)
        by_hand = f"Or put these lines into it yourself:{lines}" if lines else "Then run it again."
        raise LauncherError(f"{_FILE} was not changed.", f"{path}: {plan.refusal}", by_hand)
    return plan


def _given(build_root: Path, config_files: Sequence[str]) -> dict[str, tuple[str, str]]:
    """What configuration files set in [GLOBAL]: value and file by option; the last file wins."""
    given: dict[str, tuple[str, str]] = {}
    for name in config_files:
        try:
            options = global_options((build_root / name).read_text(encoding="utf-8"))
        except (OSError, TomlError):
            continue  # Pants reads these files too, and its message is better
        given.update({key: (_shown(value), name) for key, value in options.items()})
    return given


def _shown(value: object) -> str:
    return toml_value(value) if isinstance(value, (str, bool, int)) else repr(value)


def _left(plan: Plan) -> list[str]:
    if not plan.left:
        return []
    return [f"Your own lines among ours in {_FILE} were kept: {'; '.join(plan.left)}"]

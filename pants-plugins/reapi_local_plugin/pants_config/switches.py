"""Making Pants ask for the server: switches in `.pants.rc`, unless the repository sets them.

Pants calls the plugin's hook only when one of the switches is on. Imports nothing of Pants.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from reapi_local_launcher.errors import LauncherError
from reapi_local_launcher.server.execution import Execution
from reapi_local_plugin.pants_config import pants_rc
from reapi_local_plugin.pants_config.edit import EditError, Plan
from reapi_local_plugin.pants_config.git_ignore import is_ignored
from reapi_local_plugin.pants_config.global_table import Setting, global_options, toml_value
from reapi_local_plugin.pants_config.toml_scan import TomlError

SWITCHES = ("remote_cache_read", "remote_cache_write")
EXECUTION = "remote_execution"
CACHES = "remote_execution_append_only_caches_base_path"
PARALLELISM = "process_execution_remote_parallelism"
_FILE = ".pants.rc"


@dataclass(frozen=True)
class Wiring:
    """What `.pants.rc` holds of ours now.

    `written` and `removed`: our lines put in and taken out. `kept`: settings the user made, as
    "key = value in file". `notes`: sentences the user should see. `executes`: Pants sends processes
    to the server, as far as these files say.
    """

    path: Path
    written: Sequence[str] = ()
    removed: Sequence[str] = ()
    kept: Sequence[str] = ()
    notes: Sequence[str] = ()
    executes: bool = False


def settings_for(execution: Execution | None) -> dict[str, Setting]:
    """The options of [GLOBAL] that make Pants use a server: as a cache, or to run processes too."""
    wanted: dict[str, Setting] = dict.fromkeys(SWITCHES, True)
    if execution is None:
        return wanted
    wanted[EXECUTION] = True
    # Without it, each process that builds a Python environment starts from nothing.
    if execution.caches:
        wanted[CACHES] = execution.caches
    # Pants tells tools how many cores they may take by it, and its own default is 128.
    wanted[PARALLELISM] = execution.slots
    return wanted


def wire(
    build_root: Path, config_files: Sequence[str], execution: Execution | None = None
) -> Wiring:
    """Turn the switches on, but for those the user has set; `execution`: to run processes too.

    `config_files`: the files Pants reads as its configuration. Raises LauncherError with the lines
    to put in by hand.
    """
    path, wanted = build_root / _FILE, settings_for(execution)
    given = _given(build_root, config_files)
    plan = _edit(path, {key: value for key, value in wanted.items() if key not in given})
    kept = {key: given[key] for key in wanted if key in given}
    kept.update((key, (value, _FILE)) for key, value in plan.kept.items())
    notes = _left(plan)
    if any(wanted[key] is True and value != "true" for key, (value, _) in kept.items()):
        notes.append(
            "A switch that the repository sets to something else than true was left so; what it "
            "switches off stays off."
        )
    if plan.written and is_ignored(build_root, _FILE) is False:
        notes.append(
            f"git doesn't ignore {_FILE}. It is for this machine: add `/{_FILE}` to .gitignore."
        )
    return Wiring(
        path=path,
        written=plan.written,
        removed=plan.removed,
        kept=[f"{key} = {value} in {file}" for key, (value, file) in kept.items()],
        notes=notes,
        executes=execution is not None and kept.get(EXECUTION, ("true", ""))[0] == "true",
    )


def unwire(build_root: Path, config_files: Sequence[str] = ()) -> Wiring:
    """Take our lines out again; `kept` are the switches that stay on. Raises LauncherError."""
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
            'again. `[reapi].mode = "off"`, or --reapi-mode=off for one command, builds without.'
        )
    return Wiring(path, removed=plan.removed, kept=kept, notes=notes)


def _edit(path: Path, wanted: Mapping[str, Setting] | None) -> Plan:
    try:
        plan = pants_rc.down(path) if wanted is None else pants_rc.up(path, wanted)
    except EditError as error:
        what = f"{_FILE} was not changed."
        raise LauncherError(what, str(error), "Then run it again.") from error
    if plan.refusal is not None:
        lines = "".join(f"\n    {line}" for line in plan.paste)
        by_hand = f"Or put these lines into it yourself:{lines}" if lines else "Then run it again."
        raise LauncherError(f"{_FILE} was not changed.", f"{path}: {plan.refusal}", by_hand)
    return plan


def _given(build_root: Path, config_files: Sequence[str]) -> dict[str, tuple[str, str]]:
    """What configuration files set in [GLOBAL], with value and file; the last file wins."""
    given: dict[str, tuple[str, str]] = {}
    for name in config_files:
        try:
            options = global_options((build_root / name).read_text(encoding="utf-8"))
        except (OSError, TomlError):
            continue  # Pants itself reads these files and complains better
        given.update({key: (_shown(value), name) for key, value in options.items()})
    return given


def _shown(value: object) -> str:
    return toml_value(value) if isinstance(value, (str, bool, int)) else repr(value)


def _left(plan: Plan) -> list[str]:
    if not plan.left:
        return []
    return [f"Your own lines among ours in {_FILE} were kept: {'; '.join(plan.left)}"]

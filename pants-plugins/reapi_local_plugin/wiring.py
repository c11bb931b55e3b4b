"""Making Pants ask for the server: the switches in `.pants.rc`, unless the repository sets them.

Pants calls the plugin's hook only when one of the switches is on. Imports nothing of Pants.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from reapi_local_plugin.launcher.errors import LauncherError
from reapi_local_plugin.rewire import pants_rc
from reapi_local_plugin.rewire.edit import EditError, Plan
from reapi_local_plugin.rewire.git_ignore import is_ignored
from reapi_local_plugin.rewire.global_table import global_options
from reapi_local_plugin.rewire.toml_scan import TomlError

SWITCHES = ("remote_cache_read", "remote_cache_write")
_FILE = ".pants.rc"


@dataclass(frozen=True)
class Wiring:
    """What `.pants.rc` holds of ours now.

    `written` and `removed`: our lines put in and taken out. `kept`: switches the user set, as
    "key = value in file". `notes`: sentences the user should see.
    """

    path: Path
    written: Sequence[str] = ()
    removed: Sequence[str] = ()
    kept: Sequence[str] = ()
    notes: Sequence[str] = ()


def wire(build_root: Path, config_files: Sequence[str]) -> Wiring:
    """Turn the switches on, but for those the user has set.

    `config_files`: the files Pants reads as its configuration. Raises LauncherError with the lines
    to put in by hand.
    """
    path = build_root / _FILE
    given = _given(build_root, config_files)
    plan = _edit(path, {key: True for key in SWITCHES if key not in given})
    kept = [f"{key} = {_toml(value)} in {file}" for key, (value, file) in given.items()]
    kept += [f"{key} = {value} in {_FILE}" for key, value in plan.kept.items()]
    notes = _left(plan)
    if any("= true" not in line for line in kept):
        notes.append(
            "A switch that the repository sets to something else than true was left so; what it "
            "switches off stays off."
        )
    if plan.written and is_ignored(build_root, _FILE) is False:
        notes.append(
            f"git doesn't ignore {_FILE}. It is for this machine: add `/{_FILE}` to .gitignore."
        )
    return Wiring(path, plan.written, plan.removed, kept, notes)


def unwire(build_root: Path) -> Wiring:
    """Take our lines out again. Raises LauncherError."""
    path = build_root / _FILE
    plan = _edit(path, None)
    return Wiring(path, removed=plan.removed, notes=_left(plan))


def _edit(path: Path, wanted: Mapping[str, bool] | None) -> Plan:
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


def _given(build_root: Path, config_files: Sequence[str]) -> dict[str, tuple[object, str]]:
    """The switches that configuration files set, with value and file; the last file wins."""
    given: dict[str, tuple[object, str]] = {}
    for name in config_files:
        try:
            options = global_options((build_root / name).read_text(encoding="utf-8"))
        except (OSError, TomlError):
            continue  # Pants itself reads these files and complains better
        given.update({key: (options[key], name) for key in SWITCHES if key in options})
    return given


def _left(plan: Plan) -> list[str]:
    if not plan.left:
        return []
    return [f"Your own lines among ours in {_FILE} were kept: {'; '.join(plan.left)}"]


def _toml(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else repr(value)

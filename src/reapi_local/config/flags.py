"""Command-line flags for all settings of the schema, grouped by section."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from reapi_local.config.kinds import SWITCH
from reapi_local.config.settings import SECTIONS, SETTINGS, Setting


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add a flag for each setting. Values are not converted here: all are checked together."""
    for section in SECTIONS:
        group: Any = parser
        if section.name:
            group = parser.add_argument_group(section.name, section.description)
        for setting in section.settings:
            group.add_argument(
                setting.flag, dest=setting.name, help=_help(setting), **_action(setting)
            )


def take_flags(options: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that were given, from the options of a parser, by name."""
    return {name: options[name] for name in SETTINGS if options[name] is not None}


def _action(setting: Setting) -> dict[str, Any]:
    if setting.kind is SWITCH:
        return {"action": "store_const", "const": True}
    action = "append" if setting.is_repeated else "store"
    return {"action": action, "metavar": setting.kind.placeholder}


def _help(setting: Setting) -> str:
    text = setting.description.replace("`", "").replace("%", "%%")
    if setting.is_repeated:
        text += " May be repeated."
    if setting.default_text and setting.kind is not SWITCH:
        text += f" Default: {setting.default_text}"
    return text

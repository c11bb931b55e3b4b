"""The settings that are given: a flag over a variable over the file over the default.

Everything that is wrong is told at once, each with the place where it was given.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from typing import Any, Final

from reapi_contract.setting_names import ENVIRONMENT_PREFIX
from reapi_local.config.schema import Config
from reapi_local.config.settings import SETTINGS, Given, config_of
from reapi_local.config.settings_file import read_file

_VARIABLES: Final = {setting.variable: setting for setting in SETTINGS.values()}


class ConfigError(Exception):
    """Settings that can't be used; the message lists every problem, one a line."""


def load(flags: Mapping[str, Any], environment: Mapping[str, str], file: str | None) -> Config:
    """The configuration. ``flags`` holds values by the names of their settings.

    Raises:
        ConfigError: unknown names in the file, unusable values, settings that have to be set and
            are not: all of them at once.
    """
    in_file, wrong_names = read_file(file) if file is not None else ([], [])
    # The strongest first: the first value of a setting is the one that counts.
    given = [*_from_flags(flags), *_from_environment(environment), *in_file]
    values, problems = _read(given)
    problems += wrong_names
    problems += _not_set(given)
    if problems:
        raise ConfigError("\n".join([*problems, *misspelt(environment)]))
    return config_of(values)


def misspelt(environment: Mapping[str, str]) -> list[str]:
    """A sentence for each variable that is nearly a setting's.

    These are no errors: other programs' variables may begin like ours.
    """
    sentences = []
    for name in environment:
        if name.startswith(ENVIRONMENT_PREFIX) and name not in _VARIABLES:
            close = get_close_matches(name, _VARIABLES, n=1, cutoff=0.9)
            sentences += [
                f"{name} isn't a setting and has no effect; {one} is one" for one in close
            ]
    return sentences


def _from_flags(flags: Mapping[str, Any]) -> Iterator[Given]:
    for name, value in flags.items():
        yield Given(SETTINGS[name], value, SETTINGS[name].flag)


def _from_environment(environment: Mapping[str, str]) -> Iterator[Given]:
    for name, value in environment.items():
        if name in _VARIABLES:
            yield Given(_VARIABLES[name], value, name)


def _read(given: Iterable[Given]) -> tuple[dict[str, Any], list[str]]:
    """Values by the names of their settings, and what is wrong with the others."""
    values: dict[str, Any] = {}
    problems: list[str] = []
    for one in given:
        try:
            value = one.setting.read(one.value)
        except ValueError as error:
            problems.append(f"{one.where}: {error}")
        else:
            values.setdefault(one.setting.name, value)
    return values, problems


def _not_set(given: Iterable[Given]) -> Iterator[str]:
    names = {one.setting.name for one in given}
    for setting in SETTINGS.values():
        if setting.default is None and setting.name not in names:
            yield (
                f"{setting.name} isn't set; give {setting.flag}, the variable {setting.variable}, "
                f"or {setting.key} in the settings file"
            )

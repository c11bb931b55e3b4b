"""Where settings come from: a flag overrides a variable, which overrides the settings file.

All problems are reported together, each with the place of the setting.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from typing import Any, Final

from reapi_contract.setting_names import ENVIRONMENT_PREFIX
from reapi_local.config.contradictions import contradictions
from reapi_local.config.schema import Config
from reapi_local.config.settings import SETTINGS, Given, config_of
from reapi_local.config.settings_file import read_file

_VARIABLES: Final = {setting.variable: setting for setting in SETTINGS.values()}


class ConfigError(Exception):
    """The settings can't be used; the message lists every problem, one per line."""


def load(flags: Mapping[str, Any], environment: Mapping[str, str], file: str | None) -> Config:
    """The configuration. ``flags`` has the values of flags by the names of their settings.

    Raises:
        ConfigError: unknown names in the file, unusable values, missing settings, or settings that
            contradict each other.
    """
    in_file, wrong_names = read_file(file) if file is not None else ([], [])
    # In order of precedence: the first value of a setting is used.
    given = [*_from_flags(flags), *_from_environment(environment), *in_file]
    values, problems = _read(given)
    problems += wrong_names
    problems += _not_set(given)
    if not problems:
        config = config_of(values)
        problems = list(contradictions(config))
        if not problems:
            return config
    raise ConfigError("\n".join([*problems, *misspelt(environment)]))


def misspelt(environment: Mapping[str, str]) -> list[str]:
    """A sentence for each variable whose name is close to a setting's variable.

    These are not errors: another program's variable may have our prefix.
    """
    sentences = []
    for name in environment:
        if name.startswith(ENVIRONMENT_PREFIX) and name not in _VARIABLES:
            close = get_close_matches(name, _VARIABLES, n=1, cutoff=0.9)
            sentences += [
                f"{name} isn't a setting and has no effect; did you mean {one}?" for one in close
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
    """The valid values by the names of their settings, and a problem for each invalid one."""
    values: dict[str, Any] = {}
    problems: list[str] = []
    for item in given:
        try:
            value = item.setting.read(item.value)
        except ValueError as error:
            problems.append(f"{item.where}: {error}")
        else:
            values.setdefault(item.setting.name, value)
    return values, problems


def _not_set(given: Iterable[Given]) -> Iterator[str]:
    names = {item.setting.name for item in given}
    for setting in SETTINGS.values():
        if setting.default is None and setting.name not in names:
            yield (
                f"{setting.name} isn't set; give {setting.flag}, the variable {setting.variable}, "
                f"or {setting.key} in the settings file"
            )

"""The schema as tables: its settings by name, and its sections in order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple, get_type_hints

from msgspec import NODEFAULT, Meta, Struct, convert
from msgspec.structs import fields

from reapi_contract import setting_names
from reapi_local.config.kinds import NAMES, PATHS, Kind
from reapi_local.config.schema import Config

TOP: Final = ""
"""The name of the section without a name: the top of the settings file."""


class Setting(Struct, frozen=True):
    """One setting. ``default`` is None if it must be set."""

    name: str
    section: str
    kind: Kind
    type: Any
    default: Any
    description: str
    allowed: str

    @property
    def is_repeated(self) -> bool:
        """Whether its flag is given once for each of several values."""
        return self.kind in (NAMES, PATHS)

    @property
    def flag(self) -> str:
        """Its command-line flag."""
        flag_of = setting_names.repeated_flag if self.is_repeated else setting_names.flag
        return flag_of(self.name)

    @property
    def variable(self) -> str:
        """Its environment variable."""
        return setting_names.variable(self.name)

    @property
    def key(self) -> str:
        """Its dotted name in the settings file."""
        return f"{self.section}.{self.name}" if self.section else self.name

    @property
    def default_text(self) -> str:
        """Its default as people write it; "" if it is empty or there is none."""
        return "" if self.default is None else self.kind.show(self.default)

    def read(self, value: object) -> Any:
        """Convert and check a value as it was given.

        Raises:
            ValueError: the value can't be used; the message says what is allowed.
        """
        try:
            checked = convert(self.kind.prepare(value), self.type, strict=False)
        except ValueError:
            raise ValueError(f"must be {self.allowed}, not {value!r}") from None
        return self.kind.finish(checked)


class Given(NamedTuple):
    """A value that was given for a setting; ``where``: the place, as messages name it."""

    setting: Setting
    value: object
    where: str


class Section(Struct, frozen=True):
    """One section; the first one is the top of the file and has no name."""

    name: str
    struct: type[Struct]
    description: str
    settings: tuple[Setting, ...]


def config_of(values: Mapping[str, Any]) -> Config:
    """The configuration from values by setting names; all other settings have their defaults.

    The values must come from :meth:`Setting.read`: they aren't checked again.
    """
    own: dict[str, dict[str, Any]] = {section.name: {} for section in SECTIONS}
    for name, value in values.items():
        own[SETTINGS[name].section][name] = value
    on_top = own.pop(TOP)
    made: dict[str, Any] = {part.name: part.struct(**own[part.name]) for part in SECTIONS[1:]}
    return Config(**on_top, **made)


def _sections() -> Iterator[Section]:
    hints = get_type_hints(Config, include_extras=True)
    structs = {name: hint for name, hint in hints.items() if _is_section(hint)}
    on_top = {name: hint for name, hint in hints.items() if name not in structs}
    yield Section(TOP, Config, "", tuple(_settings(TOP, Config, on_top)))
    for name, struct in structs.items():
        settings = _settings(name, struct, get_type_hints(struct, include_extras=True))
        yield Section(name, struct, struct.__doc__ or "", tuple(settings))


def _is_section(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, Struct)


def _settings(section: str, struct: type[Struct], hints: Mapping[str, Any]) -> Iterator[Setting]:
    defaults = {field.name: field.default for field in fields(struct)}
    for name, hint in hints.items():
        [kind] = (part for part in hint.__metadata__ if isinstance(part, Kind))
        metas = [part for part in hint.__metadata__ if isinstance(part, Meta)]
        [description] = (meta.description for meta in metas if meta.description)
        default = defaults[name]
        yield Setting(
            name=name,
            section=section,
            kind=kind,
            type=hint,
            default=None if default is NODEFAULT else default,
            description=description,
            allowed=_allowed(kind, metas),
        )


def _allowed(kind: Kind, metas: list[Meta]) -> str:
    """Which values are allowed, with the bounds as people write them."""
    low = next((meta.ge for meta in metas if meta.ge is not None), None)
    high = next((meta.le for meta in metas if meta.le is not None), None)
    if low is None or high is None:
        return kind.allowed
    return kind.allowed.format(low=kind.show(low), high=kind.show(high))


SECTIONS: Final = tuple(_sections())
SETTINGS: Final = {setting.name: setting for section in SECTIONS for setting in section.settings}

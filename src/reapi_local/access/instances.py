"""Which instances a server has: all that calls name, or only the configured ones."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from reapi_local.errors import InstanceNotFound
from reapi_local.protocol.instance import check_instance_name

OTHERS: Final = "(others)"
"""The common name of the instances that the server doesn't remember by their names."""

_MAX_REMEMBERED: Final = 100


class Instances:
    """The instances of a server. ``listed`` empty = each instance is made at its first use.

    Of instances that aren't listed the first hundred are remembered, because clients invent the
    names.
    """

    def __init__(self, listed: Collection[str] = ()) -> None:
        self._listed = frozenset(check_instance_name(name) for name in listed)
        self._admitted: set[str] = set(self._listed)
        self._has_others = False

    def admit(self, name: str) -> str:
        """Returns ``name`` if a call may use it.

        Raises:
            InvalidRequest: ``name`` can't be an instance name.
            InstanceNotFound: ``name`` isn't listed.
        """
        if name in self._admitted:
            return name
        check_instance_name(name)
        if self._listed:
            raise InstanceNotFound(
                f"instance {name!r} isn't on this server; it has: {', '.join(sorted(self._listed))}"
            )
        if len(self._admitted) < _MAX_REMEMBERED:
            self._admitted.add(name)
        else:
            self._has_others = True
        return name

    def label(self, name: str) -> str:
        """The name under which counters count an instance: ``OTHERS`` if it isn't remembered."""
        return name if name in self._admitted else OTHERS

    def names(self) -> list[str]:
        """The listed instances, or those used since the server started, sorted.

        At the end ``OTHERS``, if there are instances that aren't remembered.
        """
        return [*sorted(self._admitted), *([OTHERS] if self._has_others else [])]

"""Which instances a server has: all that calls name, or only the configured ones."""

from __future__ import annotations

from collections.abc import Collection

from reapi_local.errors import InstanceNotFound
from reapi_local.protocol.instance import check_instance_name


class Instances:
    """The instances of a server. ``listed`` empty = each instance is made at its first use."""

    def __init__(self, listed: Collection[str] = ()) -> None:
        self._listed = frozenset(check_instance_name(name) for name in listed)
        self._admitted: set[str] = set(self._listed)

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
        return name

    def names(self) -> list[str]:
        """The listed instances, or those used since the server started, sorted."""
        return sorted(self._admitted)


_MAX_REMEMBERED = 10_000

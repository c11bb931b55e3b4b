"""The server's token, and those that come after it."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Final

from reapi_contract.state import new_token
from reapi_local.errors import NoSpareToken

_SPARES: Final = 16
"""The native transport compares the token of each call with all of them. It takes 1 µs with 16."""


class Tokens:
    """The token that is right now, and the next ones.

    The native transport refuses strangers by the tokens that it gets when it is made. So the next
    ones are made at the start too. Nobody knows them until they are taken, and the interceptor
    refuses them until then.
    """

    def __init__(self, current: str, *, are_fixed: bool) -> None:
        """``are_fixed``: tokens that are not in ``accepted`` can't be used."""
        self.current = current
        self._spares = [new_token() for _ in range(_SPARES)] if are_fixed else None

    def accepted(self) -> Collection[str]:
        """The current token and all later ones."""
        return (self.current, *(self._spares or ()))

    def replace(self, keep: Callable[[str], None]) -> None:
        """Take the next token, after ``keep`` has written it down.

        Raises:
            NoSpareToken: there is none left.
            Exception: what ``keep`` raises. Then the current token stays.
        """
        if self._spares is None:
            following = new_token()
        elif self._spares:
            following = self._spares[-1]
        else:
            raise NoSpareToken(
                f"the token was replaced {_SPARES} times since the server started, and the server "
                "takes no other one until it is restarted"
            )
        keep(following)
        if self._spares:
            self._spares.pop()
        self.current = following

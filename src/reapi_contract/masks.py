"""Which parts of a command are secrets, and how they are masked before they are kept.

A mask tells whether two secrets are equal, and nothing else: it is a keyed hash. Masking a mask
changes nothing, so both the reporter and the server may do it.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping

_MASK = re.compile(r"<secret [0-9a-f]{16}>")
_WORDS = re.compile(
    r"token|secret|passw(or)?d|passphrase|credential|cookie|auth(?!or(?!iz))|bearer|dsn$"
    r"|(api|access|private|signing|encryption|account|storage|ssh|gpg|license)_?key"
    r"|(^|_)(pass|pwd|pat|key)$(?<!^pwd)",
    re.IGNORECASE,
)
_NO_SECRETS = re.compile(r"PANTS_CACHE_KEY_|SSH_AUTH_SOCK$|XAUTHORITY$")
_USER_IN_URL = re.compile(r"(?<=://)[^\s/?#@]+(?=@)")


def names_a_secret(name: str) -> bool:
    """Whether the value of a variable or an option of that name looks like a secret."""
    words = name.replace("-", "_").strip("_")
    return bool(_WORDS.search(words)) and not _NO_SECRETS.match(words)


def is_masked(value: str) -> bool:
    """Whether the whole value is a mask."""
    return bool(_MASK.fullmatch(value))


class Masks:
    """Masks secrets with the key of one server."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def variables(self, env: Mapping[str, str]) -> dict[str, str]:
        """The variables, with secret values masked, and users and passwords within URLs."""
        return {
            name: self._mask(value) if names_a_secret(name) else self._text(value)
            for name, value in env.items()
        }

    def arguments(self, argv: Iterable[str]) -> tuple[str, ...]:
        """The arguments; values of `--password=VALUE` and `--password VALUE` are masked."""
        masked, is_value = [], False
        for argument in argv:
            name, equals, value = argument.partition("=")
            is_option = argument.startswith("-")
            if is_value and not is_option:
                masked.append(self._mask(argument))
            elif is_option and equals and names_a_secret(name):
                masked.append(f"{name}={self._mask(value)}")
            else:
                masked.append(self._text(argument))
            is_value = is_option and not equals and names_a_secret(name)
        return tuple(masked)

    def _text(self, text: str) -> str:
        if "://" not in text:
            return text
        return _USER_IN_URL.sub(lambda found: self._mask(found.group()), text)

    def _mask(self, value: str) -> str:
        if not value or is_masked(value):
            return value
        mac = hmac.new(self._key, value.encode("utf-8", "surrogateescape"), hashlib.sha256)
        return f"<secret {mac.hexdigest()[:16]}>"

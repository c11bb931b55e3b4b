"""Which variables and arguments hold secrets, judged by their names, and how they are shown.

It guards against showing a secret by chance, on a screen or in a report. It is no protection
against somebody who may read the blobs themselves.
"""

from __future__ import annotations

import re

MASK = "********"

_NAME = re.compile(
    r"TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|CREDENTIAL|AUTHORIZATION|COOKIE"
    r"|(^|[_-])(PASS|PWD|AUTH|PAT)([_-]|$)|(API|ACCESS|PRIVATE|SIGNING|ENCRYPTION)[_-]?KEY",
    re.IGNORECASE,
)
_PLAIN = re.compile(r"^(PWD|OLDPWD|PANTS_CACHE_KEY.*|.*_(FILE|PATH|DIR))$")
_ASSIGNMENT = re.compile(r"(-{0,2})([A-Za-z][\w.-]*)=(.+)", re.DOTALL)
_IN_URL = re.compile(r"(\w+://[^\s/:@]*:)[^\s/@]+(@)")


def is_secret(name: str) -> bool:
    """Whether a variable of this name holds a secret."""
    return _NAME.search(name) is not None and _PLAIN.match(name) is None


def masked(name: str, value: str) -> str:
    """The value of a variable as it may be shown; passwords within URLs are masked, too."""
    return MASK if value and is_secret(name) else _IN_URL.sub(rf"\g<1>{MASK}\g<2>", value)


def masked_argument(argument: str) -> str:
    """An argument as it may be shown: the values of `--token=…` and `TOKEN=…` are masked."""
    assignment = _ASSIGNMENT.fullmatch(argument)
    if assignment is None:
        return masked("", argument)
    dashes, name, value = assignment.groups()
    return f"{dashes}{name}={masked(name, value)}"

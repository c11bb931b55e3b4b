"""The token in a header ``authorization``.

Sources: RFC 9110, section 11.4; RFC 6750, section 2.1 (Bearer); RFC 7617, section 2 (Basic).
"""

from __future__ import annotations

import binascii


def token_in(header: bytes) -> bytes:
    """The token of Bearer, or the password of Basic with any user name; b"" for anything else.

    The name of the scheme is compared without case.
    """
    scheme, _, credentials = header.partition(b" ")
    credentials = credentials.strip(b" ")
    match scheme.lower():
        case b"bearer":
            return credentials
        case b"basic":
            return _password_in(credentials)
    return b""


def _password_in(credentials: bytes) -> bytes:
    """The password of ``user:password`` in base64. A user name has no colon, a password may."""
    try:
        return binascii.a2b_base64(credentials, strict_mode=True).partition(b":")[2]
    except binascii.Error:
        return b""

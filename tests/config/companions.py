"""Settings that can't be given alone, and what they need."""

from __future__ import annotations

from reapi_local.config.settings import Setting

_VARIABLES = {
    "tls_cert": {"REAPI_LOCAL_TLS_KEY": "/k"},
    "tls_key": {"REAPI_LOCAL_TLS_CERT": "/c"},
    "tls_client_ca": {"REAPI_LOCAL_TLS_CERT": "/c", "REAPI_LOCAL_TLS_KEY": "/k"},
    "auth": {"REAPI_LOCAL_EXECUTION": "off"},
    "anonymous": {"REAPI_LOCAL_EXECUTION": "off", "REAPI_LOCAL_AUTH": "none"},
}


def companions(setting: Setting) -> dict[str, str]:
    """The variables that a setting needs, all but the data directory."""
    return _VARIABLES.get(setting.name, {})

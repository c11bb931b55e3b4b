"""Settings that can't be used together are refused, with what to change."""

from __future__ import annotations

from typing import Any

import pytest

from reapi_local.config.sources import ConfigError, load

TLS = {"tls_cert": "/c", "tls_key": "/k"}
NONE = {"auth": "none", "execution": "off"}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"tls_cert": "/c"}, "tls_cert is set without tls_key"),
        ({"tls_key": "/k"}, "tls_key is set without tls_cert"),
        ({"tls_client_ca": "/ca"}, "tls_client_ca is set without tls_cert"),
        ({**TLS, "transport": "native"}, "transport is native, which has no TLS"),
        ({**NONE, "transport": "native"}, "set transport to grpcio or auto, or auth to token"),
        ({"anonymous": "write"}, "anonymous has no effect while auth is token"),
        ({**NONE, "host": "0.0.0.0"}, "other machines can reach the server on 0.0.0.0"),
        ({**NONE, "host": "cache.example"}, "other machines can reach"),
        ({**NONE, **TLS, "tls_client_ca": "/ca"}, "tls_client_ca asks for certificates"),
        ({"auth": "none"}, "write the cache; set execution to off, or hermetic"),
        ({"auth": "none", "execution": "on"}, "actions that have a network"),
        (
            {"auth": "none", "hermetic": True, "sandbox": "process-group"},
            "a sandbox that isolates the network",
        ),
    ],
)
def test_a_contradiction_is_refused_with_its_remedy(given: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load({"data_dir": "/d", **given}, {}, None)
    [problem] = str(caught.value).splitlines()
    assert words in problem
    assert ";" in problem  # what is wrong; what to do


@pytest.mark.parametrize(
    "given",
    [
        TLS,
        {**TLS, "tls_client_ca": "/ca", "transport": "grpcio"},
        {**TLS, "host": "0.0.0.0"},
        NONE,
        {**NONE, **TLS},
        {**NONE, "transport": "grpcio"},
        {**NONE, "anonymous": "write", "host": "::1"},
        {"auth": "none", "hermetic": True},
        {"auth": "none", "hermetic": True, "execution": "on", "sandbox": "slots"},
        {**NONE, "sandbox": "process-group"},
        {"anonymous": "read"},
    ],
)
def test_what_goes_together_is_accepted(given: dict[str, Any]) -> None:
    load({"data_dir": "/d", **given}, {}, None)


def test_contradictions_are_told_together() -> None:
    given = {"auth": "none", "host": "0.0.0.0", "tls_cert": "/c"}
    with pytest.raises(ConfigError) as caught:
        load({"data_dir": "/d", **given}, {}, None)
    assert len(str(caught.value).splitlines()) == 3

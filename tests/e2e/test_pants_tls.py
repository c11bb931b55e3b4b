"""Pants on the user's own server with TLS: what it has to be told, and that it then works."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.pants_repo import PLUGIN, SHELL, SLOW_TEST, Machine, Repository, machine, pants_toml
from reapi_contract.setting_names import variable
from reapi_local_plugin.instance_name import instance_name
from rpc.certificates import authority

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    root = tmp_path_factory.mktemp("tls")
    own = authority(root / "certificates")
    with machine(root) as made:
        made.env |= {variable(name): value for name, value in own.settings.items()}
        yield made


@pytest.fixture(scope="module")
def repository(shop: Machine) -> Repository:
    made = shop.repository("encrypted", pants_toml(SHELL, PLUGIN))
    made.write({"BUILD": SLOW_TEST})
    return made


def test_pants_says_which_option_it_needs_and_then_uses_the_cache(
    shop: Machine, repository: Repository, tmp_path: Path
) -> None:
    up = repository.run("reapi-up").must_succeed()
    assert "address   grpcs://localhost:" in up.out
    said = re.search(r'remote_ca_certs_path = "(.+?)"', re.sub(r"\n\s*", " ", up.out))
    assert said, up.out

    without = repository.run(f"--local-store-dir={tmp_path}/0", "test", "::").must_succeed()
    assert without.lookups == (0, 0)
    assert len(without.warnings) == 1
    assert said[0] in without.warnings[0]

    flag = f"--remote-ca-certs-path={said[1]}"
    first = repository.run(flag, f"--local-store-dir={tmp_path}/1", "test", "::").must_succeed()
    assert first.warnings == []
    assert first.counters["remote_cache_write_successes"] == 1
    second = repository.run(flag, f"--local-store-dir={tmp_path}/2", "test", "::").must_succeed()
    assert second.warnings == []
    assert second.lookups == (1, 0)
    assert shop.lookups(instance_name(None, repository.root)) == (1, 1)

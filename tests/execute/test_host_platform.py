"""Platform properties that this machine meets, and those that it doesn't."""

from __future__ import annotations

import platform

import pytest

from reapi_local.execute.local.host_platform import HostPlatform

LINUX, MAC = HostPlatform("linux", "x86-64"), HostPlatform("macos", "arm-a64")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OSFamily", "linux"),
        ("OSFamily", "Linux"),
        ("osfamily", "LINUX"),
        ("os_family", "linux"),
        ("OS", "linux"),
        ("ISA", "x86-64"),
        ("Arch", "amd64"),
        ("arch", "x86_64"),
        ("cpu", "k8"),
        ("cpu_arch", "X86_64"),
    ],
)
def test_a_spelling_of_this_platform_is_met_and_on_another_one_is_not(
    name: str, value: str
) -> None:
    assert LINUX.unmet([(name, value)]) is None
    assert MAC.unmet([(name, value)]) == f"{name}={value}"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OSFamily", "macos"),
        ("OSFamily", "Darwin"),
        ("os", "osx"),
        ("ISA", "arm-a64"),
        ("Arch", "arm64"),
        ("CPU", "aarch64"),
        ("ISA", "armv8"),
        ("ISA", "arm-sve"),
    ],
)
def test_what_another_platform_meets_is_not_met_here(name: str, value: str) -> None:
    assert MAC.unmet([(name, value)]) is None
    assert LINUX.unmet([(name, value)]) == f"{name}={value}"


@pytest.mark.parametrize(
    ("name", "value"), [("OSFamily", "windows"), ("OSFamily", "plan9"), ("ISA", "vax")]
)
def test_a_name_of_the_lexicon_with_a_value_that_is_neither_is_not_met(
    name: str, value: str
) -> None:
    for host in (LINUX, MAC):
        assert host.unmet([(name, value)]) == f"{name}={value}"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("container-image", "docker://example.com/windows"),
        ("docker-image", "ubuntu"),
        ("Pool", "macos"),
        ("network", "on"),
        ("cpu", "4"),
        ("arch", "any"),
        ("os", "ubuntu-22.04"),
        ("OSFamily", ""),
    ],
)
def test_what_says_nothing_about_the_platform_is_met_everywhere(name: str, value: str) -> None:
    for host in (LINUX, MAC):
        assert host.unmet([(name, value)]) is None


def test_each_value_counts_if_a_name_has_more_than_one() -> None:
    assert LINUX.unmet([("ISA", "x86-64"), ("ISA", "x86-avx2")]) is None
    assert LINUX.unmet([("ISA", "arm-a64"), ("ISA", "x86-64")]) == "ISA=arm-a64"
    assert LINUX.unmet([("ISA", "x86-64"), ("OSFamily", "aix")]) == "OSFamily=aix"


def test_this_machine_meets_what_it_calls_itself() -> None:
    host = HostPlatform.of_this_machine()
    names = [("OSFamily", platform.system()), ("ISA", platform.machine())]
    assert host.unmet([*names, ("OSFamily", host.system), ("ISA", host.processor)]) is None

"""The unchanging part of a process: each different one is kept once, compressed."""

from __future__ import annotations

import hashlib
import json
import zlib
from dataclasses import replace
from typing import Final

from reapi_contract.json_records import from_json, to_json
from reapi_contract.masks import Masks
from reapi_contract.run_reports import ProcessReport

_KEY_BYTES: Final = 16
_OF_THE_DEFINITION: Final = (
    *("argv", "env", "working_directory", "input_root", "output_files", "output_directories"),
    *("timeout_ms", "platform", "strategy", "environment_name", "cache_scope", "caches"),
    *("description", "platform_properties"),
)


def masked(process: ProcessReport, masks: Masks) -> ProcessReport:
    """The process without its secrets."""
    return replace(process, argv=masks.arguments(process.argv), env=masks.variables(process.env))


def encoded(process: ProcessReport) -> bytes:
    """The definition as JSON in ASCII; equal definitions have equal bytes."""
    fields = to_json(process)
    kept = {name: fields[name] for name in _OF_THE_DEFINITION if fields.get(name)}
    return json.dumps(kept, sort_keys=True, separators=(",", ":")).encode()


def decoded(definition: bytes) -> ProcessReport:
    """A process of which only the definition is known."""
    return from_json(ProcessReport, json.loads(definition))


def key_of(definition: bytes) -> bytes:
    """The key by which a definition is kept."""
    return hashlib.sha256(definition).digest()[:_KEY_BYTES]


def compressed(body: bytes) -> bytes:
    return zlib.compress(body, 6)


def decompressed(body: bytes) -> bytes:
    return zlib.decompress(body)

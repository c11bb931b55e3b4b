#!/usr/bin/env bash
# Writes every lock file of the project anew: hashed requirements, good for Linux and macOS, that name no package index.
# Run it after changing `server` in pyproject.toml or dev.in, with `-U` to take the newest versions: requirements/compile.sh -U
# It needs uv (`pip install uv`); the index is the one uv is set up for.
set -euo pipefail
cd "$(dirname "$0")/.."

compile() {
  uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-emit-find-links \
    --custom-compile-command requirements/compile.sh "$@"
}

server=pants-plugins/reapi_local_launcher/python/server-requirements.txt
# What the launcher installs for the server, on CPython 3.11 and newer.
compile --python-version 3.11 --extra server pyproject.toml --output-file "$server" "$@"
# The server's packages at those versions, and what tests and checks need beside them.
compile --python-version 3.11 --constraint "$server" --extra server pyproject.toml requirements/dev.in \
  --output-file requirements/dev.txt "$@"
# What `./pants` installs where no Pants launcher is: Pants 2.17.1 needs CPython 3.9.
compile --python-version 3.9 --output-file requirements/pants.txt "$@" - <<<'pantsbuild.pants==2.17.1'
# The PEX that Pants 2.17.1 runs as a program of its own.
compile --python-version 3.9 --output-file requirements/pex.txt "$@" - <<<'pex==2.1.137'

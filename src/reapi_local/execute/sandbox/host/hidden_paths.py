"""What actions must not see of a home directory and of the host.

Paths are relative to the home directory, except for those of daemons.
"""

from __future__ import annotations

from typing import Final

SECRET_DIRECTORIES: Final = (
    # keys and agents' sockets
    ".ssh",
    ".gnupg",
    ".pki",
    ".password-store",
    ".config/reapi-local",
    ".local/share/keyrings",
    ".local/share/kwalletd",
    ".local/share/gopass",
    # clouds
    ".aws",
    ".azure",
    ".config/gcloud",
    ".config/doctl",
    ".config/hcloud",
    ".config/scw",
    ".config/rclone",
    ".oci",
    ".bluemix",
    ".aliyun",
    # clusters and containers, including the sockets of their daemons
    ".kube",
    ".docker",
    ".config/containers",
    ".config/helm",
    ".local/share/containers",
    ".colima",
    ".lima",
    ".rd",
    ".orbstack",
    ".minikube",
    # code hosting
    ".config/gh",
    ".config/glab-cli",
    ".config/hub",
    ".subversion",
    # secret stores and infrastructure
    ".vault",
    ".config/op",
    ".config/sops",
    ".config/age",
    ".terraform.d",
    ".pulumi",
    # assistants
    ".claude",
    ".codex",
    ".gemini",
    ".config/github-copilot",
    # models and data
    ".kaggle",
    ".snowflake",
    # browsers and mail: a cookie is as good as a password
    ".mozilla",
    ".thunderbird",
    ".config/google-chrome",
    ".config/chromium",
    ".config/BraveSoftware",
    ".config/microsoft-edge",
    ".config/vivaldi",
    ".config/opera",
)

SECRET_FILES: Final = (
    ".netrc",
    "_netrc",
    ".git-credentials",
    ".config/git/credentials",
    ".pypirc",
    ".npmrc",
    ".yarnrc*",
    ".bazelrc*",
    ".cargo/credentials*",
    ".gem/credentials*",
    ".bundle/config",
    ".m2/settings*.xml",
    ".gradle/gradle.properties",
    ".sbt/.credentials",
    ".composer/auth.json",
    ".config/composer/auth.json",
    ".config/pypoetry/auth.toml",
    ".dockercfg",
    ".terraformrc",
    ".vault-token",
    ".boto",
    ".s3cfg",
    ".huggingface/token",
    ".cache/huggingface/token",
    ".cache/huggingface/stored_tokens",
    ".databrickscfg",
    ".pgpass",
    ".my.cnf",
    ".Xauthority",
    ".ICEauthority",
    ".*history",
)
"""Patterns for the last component, so ``credentials*`` covers ``credentials.toml``."""

TOOLCHAIN_DIRECTORIES: Final = (
    ".asdf",
    ".cache",
    ".cargo",
    ".local",
    ".local/bin",
    ".local/lib",
    ".local/share",
    ".nvm",
    ".pyenv",
    ".rustup",
    ".sdkman",
    ".volta",
)
"""Where toolchains live. Actions of another user see them even if the directory is closed."""

DAEMON_DIRECTORIES: Final = (
    "/mnt/wsl",
    "/var/lib/docker",
    "/var/lib/incus",
    "/var/lib/libvirt",
    "/var/lib/lxd",
    "/var/snap/docker",
    "/var/snap/lxd",
)
"""Absolute paths where daemons that run as root have their sockets; /run is handled apart."""

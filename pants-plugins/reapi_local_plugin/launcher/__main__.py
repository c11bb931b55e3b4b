"""`python -m reapi_local_plugin.launcher`: the command where no `reapi-local` is installed."""

import sys

from reapi_local_plugin.launcher.cli import main

if __name__ == "__main__":
    sys.exit(main())

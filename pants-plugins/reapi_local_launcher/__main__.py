"""`python -m reapi_local_launcher`: the command where no `reapi-local` is installed."""

import sys

from reapi_local_launcher.cli.main import main

if __name__ == "__main__":
    sys.exit(main())

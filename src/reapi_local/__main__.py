"""``python -m reapi_local``."""

import sys

from reapi_local.cli import main

sys.exit(main())

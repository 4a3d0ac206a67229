"""`python -m wtl.cli`."""

import sys

from wtl.cli import main

sys.exit(main())

"""`python -m metalearn.cli`."""

import sys

from metalearn.cli import main

sys.exit(main())

"""``python -m ivimsc``."""

import sys

from ivimsc.cli import main

sys.exit(main())

"""`python -m training.hints`: the command of :mod:`training.hints.command`."""

import sys

from training.hints.command import main

sys.exit(main())

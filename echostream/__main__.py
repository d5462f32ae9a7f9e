"""``python -m echostream``: the command where no script is installed."""

import sys

from echostream.cli import main

sys.exit(main())

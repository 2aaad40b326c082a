"""``python -m netphys`` is the command ``netphys``."""

import sys

from netphys.cli.main import main

if __name__ == "__main__":
    sys.exit(main())

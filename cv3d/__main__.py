"""`python -m cv3d`: the same as the `cv3d` command."""

import sys

from cv3d.cli import main

if __name__ == "__main__":
    sys.exit(main())

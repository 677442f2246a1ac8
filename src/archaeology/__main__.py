"""`python -m archaeology`, and `torchrun -m archaeology train ...`: the command line."""

import sys

from archaeology.cli.main import main

if __name__ == "__main__":
    sys.exit(main())

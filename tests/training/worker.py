"""A run on the wall in a process of its own: `python -m tests.training.worker FOLDER STEPS`."""

import sys
from pathlib import Path

from tests.training.runs import run


def main() -> None:
    folder, steps = Path(sys.argv[1]), int(sys.argv[2])
    run(folder, steps=steps)


if __name__ == "__main__":
    main()

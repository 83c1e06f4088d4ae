"""`python -m training.average`: runs :mod:`training.release.average`."""

import runpy

if __name__ == "__main__":
    runpy.run_module("training.release.average", run_name="__main__")

"""`python -m training.ship`: runs :mod:`training.release.ship`."""

import runpy

if __name__ == "__main__":
    runpy.run_module("training.release.ship", run_name="__main__")

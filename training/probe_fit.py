"""`python -m training.probe_fit`: runs :mod:`training.networks.probe_fit`."""

import runpy

if __name__ == "__main__":
    runpy.run_module("training.networks.probe_fit", run_name="__main__")

"""How every test runs: shapes checked, one core to a worker, and random cases that CI can repeat."""

import os

from hypothesis import settings
from jaxtyping import install_import_hook

# Workers of pytest-xdist share the cores; torch in each, and in what tests start, would take all of them.
# torch reads this when it is first imported, which neither import above does.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# Not by pytest's --jaxtyping-packages: jaxtyping 0.3.11 splits that option wrongly when it names two packages
# and a type checker with arguments.
install_import_hook(
    ["model", "training"], "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))"
)

# No deadline, because a busy machine is no failure; in CI the same cases every time.
settings.register_profile("here", deadline=None, derandomize=bool(os.environ.get("CI")), print_blob=True)
settings.load_profile("here")

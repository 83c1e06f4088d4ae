"""Turns the signatures of `model` and `training` into assertions while tests run."""

from jaxtyping import install_import_hook

# Not by pytest's --jaxtyping-packages: jaxtyping 0.3.11 splits that option wrongly when it names two packages
# and a type checker with arguments.
install_import_hook(
    ["model", "training"], "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))"
)

"""The tree of errors."""

import re

from service.contract import errors
from service.contract.errors import Overloaded, RateLimited, ServiceError


def tree(root: type[ServiceError] = ServiceError) -> list[type[ServiceError]]:
    branches = (branch for branch in root.__subclasses__() if branch.__module__ == errors.__name__)
    return [root] + [leaf for branch in branches for leaf in tree(branch)]


def test_every_error_has_a_code_of_its_own() -> None:
    codes = [kind.code for kind in tree()]
    assert len(codes) == len(set(codes))
    assert all(code.replace("_", "").isalpha() and code.islower() for code in codes)


def test_the_tree_that_is_drawn_is_the_tree_that_is() -> None:
    drawn = re.findall(r"^ {4}(?:[ │]*[├└]── )?([A-Z]\w+)", errors.__doc__ or "", flags=re.MULTILINE)
    assert drawn == [kind.__name__ for kind in tree()]


def test_an_error_says_its_message_and_when_to_come_again() -> None:
    error = Overloaded("8 images are waiting already", retry_after_s=1.5)
    assert (str(error), error.retry_after_s) == ("8 images are waiting already", 1.5)


def test_who_is_limited_by_rate_is_answered_like_any_overload() -> None:
    assert issubclass(RateLimited, Overloaded)

from collections.abc import Iterator

from service.contract.errors import ServiceError
from service.rest.errors import STATUS, answer_of


def tree(root: type[ServiceError] = ServiceError) -> Iterator[type[ServiceError]]:
    yield root
    for branch in root.__subclasses__():
        if branch.__module__ == ServiceError.__module__:  # the client has errors of its own
            yield from tree(branch)


def test_every_error_of_the_tree_has_a_status_of_its_own_and_no_other_has() -> None:
    assert set(STATUS) == set(tree())


def test_requests_that_can_be_put_right_are_4xx_and_others_are_not() -> None:
    from service.contract.errors import Overloaded, RateLimited, RequestError

    for kind, status in STATUS.items():
        at_fault = issubclass(kind, RequestError | RateLimited | Overloaded)
        assert (400 <= status < 500) == at_fault, kind


def test_an_answer_says_what_the_error_says() -> None:
    for kind in tree():
        answer = answer_of(kind("told", retry_after_s=1.2))
        assert (answer.status, answer.code, answer.message) == (STATUS[kind], kind.code, "told")
        assert (b"retry-after", b"2") in answer.headers
        assert not [name for name, _ in answer_of(kind("told")).headers if name == b"retry-after"]

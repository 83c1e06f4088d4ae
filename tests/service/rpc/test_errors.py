import grpc

from service.contract.errors import RequestError, Unavailable
from service.rpc.errors import STATUS
from tests.service.rest.test_errors import tree


def test_every_error_of_the_tree_has_a_code_of_its_own_and_no_other_has() -> None:
    assert set(STATUS) == set(tree())


def test_only_what_may_succeed_later_has_a_code_that_clients_try_again() -> None:
    later = {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
    }
    for kind, status in STATUS.items():
        assert (status in later) == issubclass(kind, Unavailable), kind
        assert not (issubclass(kind, RequestError) and status is grpc.StatusCode.INTERNAL)

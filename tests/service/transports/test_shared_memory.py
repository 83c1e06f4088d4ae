import os
import secrets
from collections.abc import Iterator
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path

import pytest

from service.contract.errors import InvalidArgument
from service.transports.shared_memory import Place, Region, Regions

PREFIX = "depth_test_"


@pytest.fixture
def memory() -> Iterator[SharedMemory]:
    made = SharedMemory(f"{PREFIX}{secrets.token_hex(4)}", create=True, size=100)
    yield made
    made.close()
    made.unlink()


def region(memory: SharedMemory, name: str = "a", offset: int = 10, byte_size: int = 50) -> Region:
    return Region(name=name, key=memory.name, offset=offset, byte_size=byte_size)


def test_a_region_is_read_and_written_where_it_lies(memory: SharedMemory) -> None:
    regions = Regions(PREFIX)
    regions.register("ann", region(memory))
    memory.buf[12:15] = b"abc"
    assert regions.read("ann", Place(region="a", offset=2, byte_size=3)) == b"abc"
    regions.write("ann", Place(region="a", offset=5, byte_size=10), b"xyz")
    assert bytes(memory.buf[15:19]) == b"xyz\0"
    assert regions.listed("ann") == regions.listed("ann", "a") == [region(memory)]


def test_each_caller_sees_regions_of_its_own_alone(memory: SharedMemory) -> None:
    regions = Regions(PREFIX)
    regions.register("ann", region(memory))
    regions.register("bob", region(memory))
    regions.unregister("bob")
    assert regions.listed("bob") == []
    assert regions.listed("ann") == [region(memory)]
    with pytest.raises(InvalidArgument, match="no region 'a'"):
        regions.read("bob", Place(region="a", offset=0, byte_size=1))


@pytest.mark.parametrize(("offset", "byte_size"), [(0, 51), (50, 1), (-1, 1), (0, 0), (2**62, 1), (0, 2**62)])
def test_no_place_beyond_a_region_is_read_or_written(
    memory: SharedMemory, offset: int, byte_size: int
) -> None:
    regions = Regions(PREFIX)
    regions.register("ann", region(memory))
    place = Place(region="a", offset=offset, byte_size=byte_size)
    for touch in (lambda: regions.read("ann", place), lambda: regions.write("ann", place, b"x")):
        with pytest.raises(InvalidArgument, match="no part of region 'a'"):
            touch()
    assert bytes(memory.buf) == bytes(100)


def test_an_output_larger_than_its_place_is_not_written(memory: SharedMemory) -> None:
    regions = Regions(PREFIX)
    regions.register("ann", region(memory))
    with pytest.raises(InvalidArgument, match="3 bytes; expected a place"):
        regions.write("ann", Place(region="a", offset=0, byte_size=2), b"xyz")
    assert bytes(memory.buf) == bytes(100)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"byte_size": 91}, "at most the 100 bytes"),
        ({"offset": 101}, "at most the 100 bytes"),
        ({"byte_size": 0}, "at least 1 byte"),
        ({"offset": -1}, "offset from 0"),
        ({"name": ""}, "expected 1 to 200"),
        ({"key": "other"}, "begins with 'depth_test_'"),
        ({"key": "depth_test_/../../etc/passwd"}, "may not be registered"),
        ({"key": "../depth_test_a"}, "may not be registered"),
        ({"key": "depth_test_none"}, "No such file"),
    ],
)
def test_what_cannot_be_a_region_is_refused(
    memory: SharedMemory, wrong: dict[str, object], said: str
) -> None:
    asked = {"name": "a", "key": memory.name, "offset": 10, "byte_size": 50} | wrong
    with pytest.raises(InvalidArgument, match=said):
        Regions(PREFIX).register("ann", Region(**asked))  # type: ignore[arg-type]


def test_an_object_that_is_made_smaller_is_an_error_and_no_end_of_the_process(memory: SharedMemory) -> None:
    regions = Regions(PREFIX)
    regions.register("ann", region(memory))
    os.truncate(f"/dev/shm/{memory.name}", 20)
    place = Place(region="a", offset=0, byte_size=50)
    for touch in (lambda: regions.read("ann", place), lambda: regions.write("ann", place, bytes(50))):
        with pytest.raises(InvalidArgument, match="has become smaller"):
            touch()
    assert Path(f"/dev/shm/{memory.name}").stat().st_size == 20


def test_a_link_or_a_folder_is_no_object() -> None:
    link = Path(f"/dev/shm/{PREFIX}link{secrets.token_hex(4)}")
    link.symlink_to("/etc/hostname")
    try:
        with pytest.raises(InvalidArgument, match="cannot be opened"):
            Regions(PREFIX).register("ann", Region(name="a", key=link.name, offset=0, byte_size=1))
    finally:
        link.unlink()


def test_there_are_none_unless_the_settings_say_so(memory: SharedMemory) -> None:
    regions = Regions("")
    regions.unregister("ann")  # as clients begin
    assert regions.listed("ann") == []
    for touch in (
        lambda: regions.register("ann", region(memory)),
        lambda: regions.read("ann", Place(region="a", offset=0, byte_size=1)),
    ):
        with pytest.raises(InvalidArgument, match="DEPTH_SHARED_MEMORY_PREFIX"):
            touch()


def test_a_caller_registers_no_more_than_so_many(memory: SharedMemory) -> None:
    regions = Regions(PREFIX)
    for number in range(64):
        regions.register("ann", region(memory, str(number)))
    with pytest.raises(InvalidArgument, match="64 regions are registered already"):
        regions.register("ann", region(memory, "one more"))
    with pytest.raises(InvalidArgument, match="there already"):
        regions.register("bob", region(memory)) or regions.register("bob", region(memory))

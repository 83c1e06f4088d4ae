import dataclasses
import json
from dataclasses import dataclass
from typing import Literal

import pytest

from model.records import read_record


@dataclass(frozen=True, kw_only=True)
class Wheel:
    inches: float


@dataclass(frozen=True, kw_only=True)
class Car:
    name: str
    doors: int
    colour: Literal["red", "blue"] = "red"
    wheels: tuple[Wheel, ...] = ()
    centre: tuple[float, float] = (0.0, 0.0)
    spare: Wheel | None = None
    electric: bool = False

    def __post_init__(self):
        if self.doors > 5:
            raise ValueError(f"doors is {self.doors}")


CAR = Car(
    name="a",
    doors=3,
    colour="blue",
    wheels=(Wheel(inches=15.5),),
    centre=(1.0, 2.0),
    spare=Wheel(inches=14.0),
)


def test_a_record_comes_back_from_its_json():
    assert read_record(Car, json.loads(json.dumps(dataclasses.asdict(CAR))), "car") == CAR


def test_a_whole_number_may_stand_for_a_float_and_becomes_one():
    wheel = read_record(Wheel, {"inches": 15}, "wheel")
    assert type(wheel.inches) is float


def test_fields_with_a_default_may_be_missing():
    assert read_record(Car, {"name": "a", "doors": 3}, "car") == Car(name="a", doors=3)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"doors": None}, "car.doors must be of type int, not None"),
        ({"doors": True}, "car.doors must be of type int, not True"),
        ({"doors": 3.0}, "car.doors must be of type int, not 3.0"),
        ({"doors": 9}, "doors is 9"),
        ({"electric": 1}, "car.electric must be of type bool, not 1"),
        ({"colour": "green"}, "car.colour must be one of 'red', 'blue', not 'green'"),
        ({"wheels": {}}, "car.wheels must be a list, not {}"),
        (
            {"wheels": [{"inches": 15}, {"inches": "15"}]},
            "car.wheels[1].inches must be of type float, not '15'",
        ),
        ({"wheels": [{"inches": float("nan")}]}, "car.wheels[0].inches must be finite, not nan"),
        ({"wheels": [15]}, "car.wheels[0] must be an object, not 15"),
        ({"wheels": [{}]}, "car.wheels[0].inches is missing"),
        ({"centre": [1, 2, 3]}, "car.centre must have 2 items, not 3"),
        ({"spare": {"inches": 15, "rim": 1}}, "car.spare has no field 'rim'; it has inches"),
        ({"name": "n" * 1000} | {"doors": "d" * 1000}, "car.doors must be of type int, not 'ddd"),
    ],
)
def test_a_wrong_field_is_named_with_its_value_and_what_was_expected(changes, says):
    with pytest.raises(ValueError) as caught:
        read_record(Car, {"name": "a", "doors": 3} | changes, "car")
    assert str(caught.value).startswith(says)
    assert len(str(caught.value)) < 120

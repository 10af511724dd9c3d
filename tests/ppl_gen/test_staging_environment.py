"""The Python values that a program can reach are watched, wherever they are."""

import typing
from argparse import Namespace
from collections import deque
from types import ModuleType, SimpleNamespace

import foreign_programs
import pytest
import torch
from torch import nn

from ppl_gen.staging import StagingWarning, stage_function
from ppl_gen.staging.environment import Environment


class Slotted:
    __slots__ = ("value",)

    def __init__(self):
        self.value = 1.0


class Shared:
    """What may hang on a class."""

    options: typing.ClassVar = {"weight": 1.0}
    weight, count = 1.0, 0.0

    @property
    def through_property(self):
        return WEIGHTS[0]

    @staticmethod
    def through_static():
        return WEIGHTS[1]

    @classmethod
    def through_class(cls):
        return WEIGHTS[2]

    @classmethod
    def counted(cls):
        cls.count += 1.0
        return cls.count


WEIGHTS = [1.0, 1.0, 1.0]
HELD = SimpleNamespace(
    plain=SimpleNamespace(weight=1.0),
    parsed=Namespace(weight=1.0),
    slots=Slotted(),
    names={"a"},
    queue=deque([1.0]),
    list=[1.0, 1.0],
)
PLACES = {
    "dictionary of a class": (
        lambda: Shared.options["weight"],
        lambda: Shared.options.update(weight=2.0),
    ),
    "attribute of a class": (lambda: Shared.weight, lambda: setattr(Shared, "weight", 2.0)),
    "property": (lambda: Shared().through_property, lambda: WEIGHTS.__setitem__(0, 2.0)),
    "static method": (lambda: Shared.through_static(), lambda: WEIGHTS.__setitem__(1, 2.0)),
    "class method": (lambda: Shared.through_class(), lambda: WEIGHTS.__setitem__(2, 2.0)),
    "namespace": (lambda: HELD.plain.weight, lambda: setattr(HELD.plain, "weight", 2.0)),
    "arguments": (lambda: HELD.parsed.weight, lambda: setattr(HELD.parsed, "weight", 2.0)),
    "slots": (lambda: HELD.slots.value, lambda: setattr(HELD.slots, "value", 2.0)),
    "set": (lambda: 1.0 + ("a" in HELD.names), lambda: HELD.names.discard("a")),
    "queue": (lambda: HELD.queue[0], lambda: HELD.queue.__setitem__(0, 2.0)),
    "list that shrinks": (lambda: float(len(HELD.list)), lambda: HELD.list.pop()),
    "module in a module": (
        lambda: float(foreign_programs.pyro_programs.LIMIT),
        lambda: setattr(foreign_programs.pyro_programs, "LIMIT", 2.0),
    ),
    "precision": (
        lambda: torch.tensor(1.0).dtype.itemsize,
        lambda: torch.set_default_dtype(torch.float64),
    ),
}


@pytest.mark.parametrize("name", PLACES)
def test_a_change_is_noticed_at_the_next_call_wherever_it_is(name, monkeypatch):
    monkeypatch.setattr(
        foreign_programs, "pyro_programs", ModuleType("pyro_programs"), raising=False
    )
    foreign_programs.pyro_programs.LIMIT = 1.0
    read, change = PLACES[name]
    weight = torch.ones(3, requires_grad=True)
    step = stage_function(lambda x: ((weight * x).sum() * read(), {}), [weight], backend="eager")
    x = torch.ones(3)
    for _ in range(4):
        assert step(x)[0] == 3 * read()
    try:
        change()
        for _ in range(2):  # the fifth and sixth call are not compared with an eager step
            assert step(x)[0] == 3 * read()
    finally:
        torch.set_default_dtype(torch.float32)


def test_what_a_program_counts_on_its_class_is_put_back():
    weight = torch.ones(3, requires_grad=True)
    step = stage_function(
        lambda x: ((weight * x).sum() * Shared.counted(), {}), [weight], backend="eager"
    )
    with pytest.warns(StagingWarning, match=r"changes Shared.count \(0.0, then 1.0\)"):
        step(torch.ones(3))
    assert Shared.count == 1.0


def test_an_environment_sees_closures_attributes_containers_globals_and_modules():
    class Base:
        level = 1

    class Held(Base):
        def __init__(self):
            self.options = {"rate": 0.1, "steps": [1, 2]}

        def method(self, x):
            return x * self.options["rate"] * scale * GLOBAL

    scale, held = 1.0, Held()
    module = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.5))

    def function(x):
        return module(held.method(x)) * scale

    def changes(change):
        environment = Environment({"function": function})
        assert environment.holds()
        change()
        assert not environment.holds()
        (found,) = environment.changes()
        return found

    def rescale():
        nonlocal scale
        scale = 2.0

    assert changes(rescale) == "scale (1.0, then 2.0)"
    assert changes(lambda: held.options.update(rate=0.2)) == "Held.options.rate (0.1, then 0.2)"
    assert changes(lambda: held.options["steps"].append(3)).startswith("Held.options.steps (2 en")
    assert changes(lambda: setattr(Base, "level", 2)) == "Base.level (1, then 2)"
    assert changes(lambda: setattr(module[1], "p", 0.1)) == "Dropout.p (0.5, then 0.1)"
    assert changes(lambda: module[1].eval()) == "Dropout.training (True, then False)"
    assert "Linear.weight" in changes(
        lambda: setattr(module[0], "weight", nn.Parameter(torch.ones(2, 2)))
    )
    assert "_forward_hooks" in changes(lambda: module[0].register_forward_hook(lambda *a: None))
    assert "GLOBAL (5, then 6)" in changes(lambda: globals().update(GLOBAL=6))
    held.options["rate"] = float("nan")
    environment = Environment({"function": function})
    held.options["rate"] = float("nan")
    assert environment.holds()


GLOBAL = 5

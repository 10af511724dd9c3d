"""Compiled code made ready before it is wanted, where somebody waits for every answer.

Whoever answers question after question in one process passes from plain code to compiled code on
the way (:mod:`graphs.inference.work`), and that one question then takes as long as compiling does.
"""

from __future__ import annotations

import threading
from functools import cache

import numpy as np


def compile_ahead() -> None:
    """Compile what sums in linear numbers need, or read it from disk, and use it from now on."""
    from graphs.inference.greedy import compiled_greedy
    from graphs.inference.linear import LinearPlan
    from graphs.inference.plain import normalised
    from graphs.inference.plans import Pattern, Planner
    from graphs.inference.work import BUDGET

    planner = Planner([2, 2], [(0,), (0, 1)], seconds=0.0)
    tables = [normalised(np.full(shape, 0.5)) for shape in ((2,), (2, 2))]
    plan = planner.plan(Pattern(frozenset((1,)), marginals=True))
    LinearPlan(plan, tables).run({1: np.zeros(1, np.int64)}, {}, 1, 1 << 20)
    compiled_greedy()
    BUDGET.end()


@cache
def compiling() -> threading.Thread:
    """Do so beside everything else, once in a process."""
    thread = threading.Thread(target=compile_ahead, name="graphs-compiling", daemon=True)
    thread.start()
    return thread

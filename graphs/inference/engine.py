"""Answers about a model of numbered variables; :mod:`graphs.inference.junction_tree` names them."""

from __future__ import annotations

from graphs.inference.assignments import Assignments
from graphs.inference.sums import Sums


class Engine(Sums, Assignments):
    """Sums and assignments by the same plans; see :class:`~graphs.inference.routing.Router`."""

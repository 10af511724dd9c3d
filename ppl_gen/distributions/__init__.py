"""Distributions that torch and Pyro lack."""

from ppl_gen.distributions import cells, grey_levels, point, relaxed

__all__ = ["cells", "grey_levels", "point", "relaxed"]

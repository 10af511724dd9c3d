"""Distributions that torch and Pyro lack."""

from ppl_gen.distributions import cells, grey_levels, relaxed

__all__ = ["cells", "grey_levels", "relaxed"]

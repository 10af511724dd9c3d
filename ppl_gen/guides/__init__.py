"""Guides with the structure that a model's posterior needs."""

from ppl_gen.guides.inverting import Amortized, amortized

__all__ = ["Amortized", "amortized"]

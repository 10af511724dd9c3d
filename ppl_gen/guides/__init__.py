"""Guides with the structure that a model's posterior needs."""

from typing import TYPE_CHECKING

from graphs.language.suggestions import suggesting
from ppl_gen.guides.inverting import Amortized, amortized

__all__ = ["Amortized", "amortized"]

if not TYPE_CHECKING:
    __getattr__ = suggesting(__name__)

"""Graphical models as structures you can question.

Every public name is resolved on first use: asking a structural question imports neither pgmpy nor
torch nor matplotlib.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

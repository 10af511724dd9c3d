"""Graphical models as structures you can question.

Every public name is resolved on first use: asking a structural question imports neither pgmpy nor
torch nor matplotlib. ``%load_ext graphs`` makes a notebook show networks as pictures.
"""

import lazy_loader

_resolve, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str) -> object:
    if name in __all__:
        return _resolve(name)
    if name.endswith("load_ipython_extension"):
        from graphs.interactive import notebook

        return getattr(notebook, name)
    from graphs.language.suggestions import no_attribute

    raise AttributeError(no_attribute(__name__, name, __all__))

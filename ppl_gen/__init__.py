"""Deep generative models as Pyro model/guide pairs, built from interchangeable parts."""

import lazy_loader

__version__ = "0.1.0"
_resolve, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str) -> object:
    if name in __all__:
        return _resolve(name)
    from graphs.language.suggestions import no_attribute

    raise AttributeError(no_attribute(__name__, name, __all__))

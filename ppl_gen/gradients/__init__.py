r"""Estimators of :math:`\nabla_\phi \mathbb{E}_{q_\phi}[f(z)]`, and what each costs and gives."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

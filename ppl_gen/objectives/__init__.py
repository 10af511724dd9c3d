"""What training minimises: bounds on the evidence, and what they are computed from.

=====================  =========================================================================
module                 what it holds
=====================  =========================================================================
``elbo``               :class:`Objective`, the base of all; :class:`ELBO`, :class:`IWAE`
``nested_bounds``      Rényi bounds, doubly reparameterised gradients, wake-sleep
``divergences``        what a critic and a generator minimise
``total_correlation``  the ELBO with its total correlation weighted, by sampling
``density_ratio``      the total correlation by a classifier
``estimated``          the ELBO with a chosen gradient estimator for every latent site
``surrogates``         the nested expectations behind it
``terms``              one run of a model/guide pair, taken apart by site and by datum
``closed_forms``       KL divergences in closed form, and where they may be used
``weights``            scales and masks of model and guide
``agreement``          what a guide and its model must share
``supports``           whether draws of the guide lie where the prior has density
``particles``          several draws at once, or one after the other
=====================  =========================================================================
"""

import lazy_loader

from graphs.language.suggestions import no_attribute

_resolve, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str) -> object:
    if name in __all__:
        return _resolve(name)
    raise AttributeError(no_attribute(__name__, name, __all__))

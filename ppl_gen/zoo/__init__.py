"""Named models, each a constructor in one short file that exchanges parts of another.

``registry`` maps names to :class:`Entry` (constructor, paper, year). A variant of your own joins it
by the decorator :func:`named`, and can then be saved and loaded like the others.
"""

from ppl_gen.zoo._autoencoder import autoencoder
from ppl_gen.zoo._bernoulli_vae import bernoulli_vae
from ppl_gen.zoo._beta_vae import beta_vae
from ppl_gen.zoo._conditional_vae import conditional_vae
from ppl_gen.zoo._control_vae import control_vae
from ppl_gen.zoo._factor_vae import factor_vae
from ppl_gen.zoo._gumbel_vae import gumbel_vae
from ppl_gen.zoo._hierarchical_vae import hierarchical_vae
from ppl_gen.zoo._iwae import iwae
from ppl_gen.zoo._registry import Entry, named, registry
from ppl_gen.zoo._sc_vae import sc_vae
from ppl_gen.zoo._ssvae import ssvae
from ppl_gen.zoo._tc_vae import tc_vae
from ppl_gen.zoo._vae import vae
from ppl_gen.zoo._vamp_vae import vamp_vae
from ppl_gen.zoo._vq_vae import vq_vae

__all__ = [
    "Entry",
    "autoencoder",
    "bernoulli_vae",
    "beta_vae",
    "conditional_vae",
    "control_vae",
    "factor_vae",
    "gumbel_vae",
    "hierarchical_vae",
    "iwae",
    "named",
    "registry",
    "sc_vae",
    "ssvae",
    "tc_vae",
    "vae",
    "vamp_vae",
    "vq_vae",
]

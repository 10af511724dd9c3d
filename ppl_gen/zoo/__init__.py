"""Named models, each a constructor in one short file that exchanges parts of another.

``registry`` maps names to :class:`Entry` (constructor, paper, year). A variant of your own joins it
by the decorator :func:`named`, and can then be saved and loaded like the others.

Variational models take as ``**parts`` the arguments of :func:`vae` that they do not list
themselves, ``encoder``, ``decoder``, ``hidden``, ``network``, ``likelihood``, ``posterior``,
``prior``, ``objective`` and those of conditions, ``num_classes``, ``num_covariates`` and
``classes``; but not the parts that make a model what it is, which it sets itself. Adversarial ones
take those of :func:`gan` in the same way, and diffusions those of :func:`ddpm`.
"""

from typing import TYPE_CHECKING

from graphs.language.suggestions import suggesting
from ppl_gen.zoo.adversarial.adagan import adagan
from ppl_gen.zoo.adversarial.adversarial_autoencoder import adversarial_autoencoder
from ppl_gen.zoo.adversarial.cycle_gan import cycle_gan
from ppl_gen.zoo.adversarial.dag_gan import dag_gan
from ppl_gen.zoo.adversarial.gan import gan
from ppl_gen.zoo.adversarial.lsgan import lsgan
from ppl_gen.zoo.adversarial.noisy_gan import noisy_gan
from ppl_gen.zoo.adversarial.packed_gan import packed_gan
from ppl_gen.zoo.adversarial.ssgan import ssgan
from ppl_gen.zoo.adversarial.unrolled_gan import unrolled_gan
from ppl_gen.zoo.adversarial.veegan import veegan
from ppl_gen.zoo.adversarial.wgan import wgan
from ppl_gen.zoo.adversarial.wgan_gp import wgan_gp
from ppl_gen.zoo.diffusion.ddpm import ddpm
from ppl_gen.zoo.diffusion.edm import edm
from ppl_gen.zoo.diffusion.guided_ddpm import guided_ddpm
from ppl_gen.zoo.diffusion.improved_ddpm import improved_ddpm
from ppl_gen.zoo.diffusion.latent_diffusion import latent_diffusion
from ppl_gen.zoo.diffusion.ncsn import ncsn
from ppl_gen.zoo.diffusion.score_sde import score_sde
from ppl_gen.zoo.entries import Entry, named, registry
from ppl_gen.zoo.variational.autoencoder import autoencoder
from ppl_gen.zoo.variational.bernoulli_vae import bernoulli_vae
from ppl_gen.zoo.variational.beta_vae import beta_vae
from ppl_gen.zoo.variational.conditional_vae import conditional_vae
from ppl_gen.zoo.variational.control_vae import control_vae
from ppl_gen.zoo.variational.factor_vae import factor_vae
from ppl_gen.zoo.variational.gumbel_vae import gumbel_vae
from ppl_gen.zoo.variational.hierarchical_vae import hierarchical_vae
from ppl_gen.zoo.variational.iwae import iwae
from ppl_gen.zoo.variational.sc_vae import sc_vae
from ppl_gen.zoo.variational.ssvae import ssvae
from ppl_gen.zoo.variational.tc_vae import tc_vae
from ppl_gen.zoo.variational.vae import vae
from ppl_gen.zoo.variational.vamp_vae import vamp_vae
from ppl_gen.zoo.variational.vq_vae import vq_vae

__all__ = [
    "Entry",
    "adagan",
    "adversarial_autoencoder",
    "autoencoder",
    "bernoulli_vae",
    "beta_vae",
    "conditional_vae",
    "control_vae",
    "cycle_gan",
    "dag_gan",
    "ddpm",
    "edm",
    "factor_vae",
    "gan",
    "guided_ddpm",
    "gumbel_vae",
    "hierarchical_vae",
    "improved_ddpm",
    "iwae",
    "latent_diffusion",
    "lsgan",
    "named",
    "ncsn",
    "noisy_gan",
    "packed_gan",
    "registry",
    "sc_vae",
    "score_sde",
    "ssgan",
    "ssvae",
    "tc_vae",
    "unrolled_gan",
    "vae",
    "vamp_vae",
    "veegan",
    "vq_vae",
    "wgan",
    "wgan_gp",
]

if not TYPE_CHECKING:
    __getattr__ = suggesting(__name__)

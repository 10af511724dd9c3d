from . import likelihoods as likelihoods
from . import networks as networks
from . import objectives as objectives
from . import posteriors as posteriors
from . import priors as priors
from . import schedules as schedules
from . import zoo as zoo
from .objectives import ELBO as ELBO
from .objectives import IWAE as IWAE
from .objectives import Objective as Objective
from .terms import Terms as Terms
from .vae import VAE as VAE
from .vae import Latent as Latent

__version__: str

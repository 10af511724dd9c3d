from . import data as data
from . import gradients as gradients
from . import likelihoods as likelihoods
from . import memory as memory
from . import metrics as metrics
from . import networks as networks
from . import objectives as objectives
from . import plot as plot
from . import posteriors as posteriors
from . import priors as priors
from . import schedules as schedules
from . import zoo as zoo
from .checkpoints import load as load
from .checkpoints import save as save
from .embedding import embed as embed
from .history import History as History
from .objectives import ELBO as ELBO
from .objectives import IWAE as IWAE
from .objectives import Objective as Objective
from .staging import stage as stage
from .terms import Terms as Terms
from .trainables import Pair as Pair
from .trainables import Trainable as Trainable
from .training import fit as fit
from .vae import VAE as VAE
from .vae import Latent as Latent

__version__: str

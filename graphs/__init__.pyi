from . import gamma as gamma
from .tables import bayesian_network as bayesian_network
from .tables import markov_network as markov_network

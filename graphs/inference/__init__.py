"""Inference in discrete models: from an elimination order to answers, one step a module.

=====================  ===========================================================================
module                 what it does
=====================  ===========================================================================
``elimination``        an order in which to sum variables out, and what it will cost
``contraction``        the order as a fixed list of pairwise contractions
``plans``              one such list for each pattern of evidence
``kernels, linear``    running it compiled, in rescaled linear numbers
``log_space``          running it on torch, in logarithms, differentiably
``conditioning``       answering case by case where a plan does not fit the memory
``routing``            which plan serves which rows
``sums, assignments``  what is asked of them: sums, and states drawn or most probable
``engine``             both
``evidence``           observations as integer codes
``potentials``         logarithms of factors in place of a model's own
``junction_tree``      :class:`graphs.JunctionTree`, the answers by name
``queries``            names, settings, what follows from marginals, exact or not
``pruning``            :func:`graphs.marginal`, one answer from the part of the model it needs
``joint``              :class:`graphs.Joint`, the model as a torch and Pyro distribution
``factor_groups``      the factors by shape, for array operations on large graphs
``fixed_points``       iterating, convergence, derivatives at a fixed point
``approximation``      what the two below share
``belief_propagation`` :class:`graphs.BeliefPropagation`, messages and the Bethe free energy
``mean_field``         :class:`graphs.MeanField`, products and a lower bound on log Z
=====================  ===========================================================================
"""

r"""Training steps that run as one compiled graph.

A Pyro program is recorded once per kind of call as a graph of tensor operations that computes the
loss and its gradients together, and the graph is compiled. What runs on every step is the graph;
parameters, schedules and running statistics are its inputs, and random draws are operations of it.

A graph is not taken on trust. When it is new, and again at its 2nd, 4th, 8th, ... call, the program
also runs eagerly from the same random state, and loss, metrics, every gradient and every tensor
written to are compared. The Python values that the program can reach are watched, and a graph is
used only while they are what they were when it was recorded; a float that changes becomes an input.

===================  =============================================================================
module               what it does
===================  =============================================================================
``functions``        :func:`stage_function`: a loss as a step
``staged``           when to record, which graph serves a call, and what to do where none can
``signatures``       what kind of call it is
``recording``        running a function once and writing down its operations
``assumptions``      comparisons that a recording may take for granted
``environment``      the Python values that the function can reach, and whether they have changed
``sandbox``          running a function and undoing what it wrote
``comparison``       whether two runs agree up to rounding
``backends``         running a graph, compiled or not
``cpp_loop``         calls of graphs in turn, in C++ where that is compiled
``full_step``        steps with their update of the parameters as one graph
``cycles``           cycles of such steps, several in a call
``updates``          that update: clipping, optimisers, averages
``optimizers``       steps of Adam, SGD and RMSprop
``averages``         exponential moving averages of parameters
``torch_internals``  what is private to torch
===================  =============================================================================
"""

from ppl_gen.staging.functions import stage_function
from ppl_gen.staging.staged import StagingError, StagingWarning

__all__ = ["StagingError", "StagingWarning", "stage_function"]

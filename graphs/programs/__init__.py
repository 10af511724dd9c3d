r"""Pyro programs read as graphs, and networks written as Pyro programs."""

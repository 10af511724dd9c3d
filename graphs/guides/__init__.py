"""What a guide can say about the posterior of a model, and the structure that one needs."""

"""Games of a generator and a critic, by name."""

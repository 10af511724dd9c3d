"""Networks that repeat in time: unrolled and filtered."""

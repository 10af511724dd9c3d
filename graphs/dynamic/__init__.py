"""Networks that repeat in time: unrolled, filtered, and questioned for every horizon."""

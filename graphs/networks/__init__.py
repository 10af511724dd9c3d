"""Networks built from arrays, checked as a whole."""

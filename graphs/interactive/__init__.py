"""A page to ask on: a model drawn, observed, asked and edited, in a browser or a notebook."""

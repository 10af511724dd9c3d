"""Trained models applied to data in batches: codes, imputed cells, and what metrics share."""

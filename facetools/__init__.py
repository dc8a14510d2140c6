"""Predict facial attributes, cluster faces by them, and explain the clusters."""

__version__ = "0.1.0"

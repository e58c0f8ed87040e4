"""Measures the starter's models on what they were not trained on: `python -m starter.evaluation`."""

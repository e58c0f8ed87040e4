"""Trains the starter's models: `python -m starter.training STAGE`; docs/starter.md says which stages there are."""

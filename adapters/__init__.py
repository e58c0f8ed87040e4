"""Adapters: one per kind of model, joined to the rest by `adapters.base`. No HTTP here."""

"""The models of a server: loading, leasing, evicting.

admission   Memory admission: models wait here, in order, until their devices have room for them
components  The components that a catalog entry names beside its model: a refiner and LoRAs
eviction    Which devices a model gets, and which models are unloaded to make room
fair_share  Fair shares: no caller may hold all places that many callers share
lease       A request's use of a model: a leased model is not unloaded
load_log    Progress of loading, as lines of a log
pool        The models of this server: loaded on first use, leased to requests, unloaded when idle
resolve     Which model a name refers to: a model's own name, an alias, or the default of a kind
slot        A served model and its state, shared by the pool and its admission
start       Starting a model whose files are here and whose memory is reserved
"""

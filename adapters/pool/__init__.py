"""The models of a server: loading, leasing, evicting.

admission   Who gets memory, and where: models that want to be loaded wait here, in order, until there is room for ...
components  What a model's entry names beside the model: its refiner, and its LoRAs
eviction    Where a model goes, and which others must go so that it fits: one budget of bytes for each device
lease       What a request holds while it uses a model: nothing is unloaded under a lease
load_log    Progress of loading, as lines of a log
pool        The models of this server: loaded on first use, leased to requests, unloaded when nobody uses them
resolve     Which model a name means: itself, an alias, or the default of a kind
slot        A served model and the state that it is in: what the pool and its admission share
"""

"""Model files and downloads, as the admin routes manage them.

downloads  Downloads of models: one at a time for each, a few at once, in memory
files      The files of the served models, for the routes: fetch, verify, list, remove
"""

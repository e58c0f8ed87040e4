"""Model files and downloads, as the admin routes manage them.

downloads  Downloads of models: one at a time per model, a few at once
files      The files of the served models: fetching, verifying, listing, removing
openai_ids  Token ids of OpenAI's embedding models as text
"""

"""One file per resource; a route reads the request, calls a service and replies.

audio           POST /v1/audio/transcriptions, /v1/audio/translations and /v1/audio/language_detections
chat            POST /v1/chat/completions
completions     POST /v1/completions
configurations  GET /v1/configurations/{kind}, POST /v1/configurations/validate: how a model is run, and whether ...
decisions       POST /v1/decisions: questions about texts and images, answered with probabilities
embeddings      POST /v1/embeddings
files           /v1/files: upload, list, get, delete, content
health          GET /health/live, /health/ready, /metrics
images          POST /v1/images/generations, /edits and /variations, and the pictures that were asked for as URLs
models          /v1/models: what is served; and, with an admin key, downloading, verifying, loading, unloading and ...
responses       /v1/responses: create, get, delete, cancel, input items, input tokens
scenes          /v1/scenes: does a picture show what a description says, and do several belong together?
speech          POST /v1/audio/speech
videos          /v1/videos: create in all its ways, list, get, delete, content
"""

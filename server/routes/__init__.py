"""One file per resource; a route reads the request, calls a service and replies.

audio           POST /v1/audio/transcriptions, /v1/audio/translations and /v1/audio/language_detections
chat            POST /v1/chat/completions
completions     POST /v1/completions
configurations  GET /v1/configurations/{kind}, POST /v1/configurations/validate
decisions       POST /v1/decisions: questions about texts and images, answered with probabilities
embeddings      POST /v1/embeddings
files           /v1/files: upload, list, get, delete, content
health          GET /health, /health/live, /health/ready, /metrics
images          POST /v1/images/generations, /edits and /variations, and the images that were requested as URLs
models          /v1/models: the served models; with an admin key also managing their files and loading them
responses       /v1/responses: create, get, delete, cancel, input items, input tokens
scenes          /v1/scenes: checks whether an image shows a description, and whether several images are consistent
speech          POST /v1/audio/speech
videos          /v1/videos: create in all its ways, list, get, delete, content
"""

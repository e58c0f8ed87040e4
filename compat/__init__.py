"""OpenAI's wire format: what requests may say, and what replies and errors look like.

audio           /v1/audio: requests and replies
chat            /v1/chat/completions: requests and replies
completions     POST /v1/completions: OpenAI's older, plain continuation of a text
configurations  GET /v1/configurations/{kind} and POST /v1/configurations/validate: ours; the seed's ...
decisions       /v1/decisions: requests and replies
embeddings      POST /v1/embeddings: schemas, parse and render
errors          From an exception to OpenAI's error envelope: status, type, code, param
files           /v1/files: OpenAI's schemas for uploaded files, as far as this server has a use for them: images ...
images          /v1/images: requests and replies
logprobs        Log-probabilities of tokens, as chat and as text completions show them
media           Media that came inside JSON: data URLs (RFC 2397), and references to what ...
model_files     Downloads, verifications and the cache of models (ours; OpenAI has none of these, but its style is ...
models          GET /v1/models: OpenAI's schema, with what this server adds to it
responses       /v1/responses: requests, replies and stream events
scenes          POST /v1/scenes/validations and /consistency, extensions of ours: schemas, parse and render
sse             Server-sent events as OpenAI sends them: `data:` frames and the closing `[DONE]`
usage           `usage` and `timings`, as chat and text completions share them
videos          /v1/videos: requests and replies
wire            What all of OpenAI's schemas share: the base of request models, readable validation errors, ids, sizes
"""

"""OpenAI's wire format: what requests may say, and what replies and errors look like.

audio           /v1/audio: requests and replies
chat            /v1/chat/completions: requests and replies
completions     POST /v1/completions: OpenAI's legacy text completions
configurations  GET /v1/configurations/{kind} and POST /v1/configurations/validate
decisions       /v1/decisions: requests and replies
embeddings      POST /v1/embeddings: schemas, parse and render. There may be millions of numbers, so no Python ...
errors          From an exception to OpenAI's error envelope: status, type, code, param. The only such table
files           /v1/files: OpenAI's schemas for uploaded files. This server uses files as images in prompts
images          /v1/images: requests and replies
json_body       JSON bodies: decoded within limits, without characters that no model and no database can hold
logprobs        Log probabilities of tokens, in the formats of chat and of text completions
media           Media inside JSON: data URLs (RFC 2397), and references that `server/media/references.py` resolves
model_files     Downloads, verifications and the cache of models. Not part of OpenAI's API; the schemas follow its ...
models          GET /v1/models: OpenAI's schema with extensions
responses       /v1/responses: requests, replies and stream events
scenes          POST /v1/scenes/validations and /consistency, extensions: schemas, parse and render
sse             Server-sent events as OpenAI sends them: `data:` frames and the closing `[DONE]`
tools           Tools of chat and responses: server-side tools, which this server lacks, custom tools, and the ...
usage           `usage` and `timings` of chat and text completions
validation      From pydantic's validation errors to one `RequestError`: which field is wrong, why, and what to ...
videos          /v1/videos: requests and replies
wire            What all request and reply schemas share: base classes, validation, ids, sizes, form fields
"""

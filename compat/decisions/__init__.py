"""/v1/decisions: requests and replies.

input      The `input` of a decision: OpenAI's items, and the evidence that they are to a model
questions  The questions of a decision: OpenAI's schemas, and how each is put to a model
request    POST /v1/decisions: OpenAI's schemas, parse and render
"""

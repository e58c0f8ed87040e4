"""/v1/chat/completions: requests and replies.

messages  The messages of a conversation, from OpenAI's schema to the adapter contract
plain     Chat requests with only text messages and the most common fields, parsed in one pass
request   POST /v1/chat/completions: OpenAI's schemas, parse and render
sampling  The sampling parameters that chat and text completions share, with OpenAI's ranges and defaults
tools     Tools and output formats of a chat request, from OpenAI's schemas to the adapter contract
"""

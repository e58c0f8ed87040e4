"""/v1/chat/completions: requests and replies.

messages  The messages of a conversation, from the wire to the seam
plain     Chat requests of nothing but texts and the commonest settings, read in one pass
request   POST /v1/chat/completions: OpenAI's schemas, parse and render
sampling  The sampling parameters that chat and text completions share, with OpenAI's ranges and defaults
tools     Tools and output formats of a chat request: OpenAI's schemas, and what the seam makes of them
"""

"""/v1/chat/completions: requests and replies.

history   Earlier messages of a chat, as any client or server wrote them, in the form that `ChatMessage` accepts
messages  The messages of a conversation, from OpenAI's schema to the adapter contract
plain     Chat requests with only text messages and the most common fields, parsed in one pass
reply     Replies of POST /v1/chat/completions: OpenAI's schemas, and rendering them from a model's events
request   POST /v1/chat/completions: OpenAI's schema of the request, and its parse
sampling  The sampling parameters that chat and text completions share, with OpenAI's ranges and defaults
tools     Tools and output formats of a chat request, from OpenAI's schemas to the adapter contract
"""

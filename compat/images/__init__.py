"""/v1/images: requests and replies.

edits        POST /v1/images/edits and /v1/images/variations: OpenAI's schemas and parse, of forms and of JSON
generations  POST /v1/images/generations: OpenAI's schema and parse; and what the other image routes have in ...
replies      What image routes answer: whole, or as events with previews
"""

"""Fake models of every kind, deterministic and instant: for tests, for trying clients, and as a minimal backend.

A reply depends only on the request. Delays, failures and tool calls are scripted for all requests by `Options`, and for
one request by directives in its prompt: `[delay_ms=50]` between events,
`[fail_after=3]` events, `[tokens=200]` of text, `[call=NAME {"x": 1}]`, `[think=what comes before the answer]`;
in a question, `[answer=OPTION]` for a probability of 0.9, and `[mute]` for answers of hardly any probability;
`[sound_ms=500]` for a video with a soundtrack. Without a directive, a call that `tool_choice` requires and an answer
that `response_format` describes are small valid instances of their schemas; a prompt that is a JSON object is echoed.

models          The adapters
script          The directives
text            Output of the text models
json_instances  A small valid instance of a JSON schema, for answers and calls that a request requires to match one
audio           Output of the speech and voice models
images          Output of the image and video models
still_mp4       MP4 files of one still image
"""

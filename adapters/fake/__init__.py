"""A deterministic, instant fake of every kind: for tests, for trying clients, and as the smallest example of a backend.

It answers from its input alone, so equal requests give equal replies. Delays, failures and tool calls are scripted in
two ways: for all requests by `Options`, and for one by directives in its prompt: `[delay_ms=50]` between events,
`[fail_after=3]` events, `[tokens=200]` of text, `[call=NAME {"x": 1}]`, `[think=what comes before the answer]`;
in a question, `[answer=OPTION]` for nine tenths of the probability, and `[mute]` for a model that will not answer.

audio      What the fakes hear, and the sounds that they make
images     Images and videos of one colour
models     The adapters, one of every kind, and what they have in common: the script
script     Directives in a prompt
still_mp4  A video of one image, written without any library: what the fake of a video model makes
text       What the fakes of language models say, and with which probabilities
"""

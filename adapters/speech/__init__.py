"""Speech to text on faster-whisper.

audio_budget     How much decoded sound a model keeps in memory at a time, whoever sent it
batched_whisper  faster-whisper's model, as one of several requests that share a network sees it
batching         Calls to one Whisper network, from many requests at once: those that are alike are computed together
features         What Whisper hears: log-mel spectrograms, in memory that does not grow with the sound's length ...
options          A transcription's request, as the model must be able to do it and as faster-whisper wants to be told
segments         Segments on their way out: faster-whisper's as ours, those of chunks in their order and at their ...
vad_chunks       Where to cut a long sound: in the pauses that a voice detector hears, so that no word is cut in two
whisper          Speech on faster-whisper: writes it down, names its language
word_alignment   Words' times, brought to where the sound says they are
"""

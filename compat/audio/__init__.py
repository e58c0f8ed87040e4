"""/v1/audio: requests and replies.

languages       /v1/audio/language_detections (ours): which language is spoken
replies         Replies of the speech routes: OpenAI's schemas, and what fills them
speech          /v1/audio/speech: OpenAI's schemas, parse and render
stream          A transcription as it is written: `transcript.text.delta` events, and `transcript.text.done` at ...
subtitles       Subtitles from timed words: SubRip (.srt) and WebVTT (.vtt)
transcriptions  /v1/audio/transcriptions and /v1/audio/translations: what is asked for, and the reply to it
"""

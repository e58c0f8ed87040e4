"""/v1/audio: requests and replies.

languages       /v1/audio/language_detections, an extension: which language is spoken
replies         Replies of the transcription routes
speech          /v1/audio/speech: OpenAI's schemas, parse and render
stream          A streamed transcription: `transcript.text.delta` and `transcript.text.done` events
subtitles       Subtitles from timed words: SubRip (.srt) and WebVTT (.vtt)
transcriptions  /v1/audio/transcriptions and /v1/audio/translations: schemas, parse and render
"""

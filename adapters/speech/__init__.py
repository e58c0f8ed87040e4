"""Speech to text on faster-whisper.

audio_budget     Limits the decoded audio in memory, over all requests
batched_whisper  faster-whisper's model for one of several requests that share a network
batching         Batches calls to one Whisper network from several requests
cuda_libraries   Makes cuBLAS 12 loadable for CTranslate2, beside the CUDA 13 of torch and vLLM
detection        Recognizes Whisper in CTranslate2's format by a repository's config files
features         Log-mel spectrograms, computed in blocks to save memory
options          Checks a request, and translates it into faster-whisper's options
presence         Where audio contains speech, by Silero's voice activity detector
segments         Converts and orders segments of faster-whisper and of chunks
vad_chunks       Cuts long audio in the pauses that voice activity detection finds
whisper          The adapter: transcription and language detection on faster-whisper
word_alignment   Moves the times of words to where the audio shows that the words start
"""

"""Speech to text on faster-whisper.

whisper.py is the adapter; hearing.py is faster-whisper's model as several requests share it; batching.py puts their
calls to the network together; features.py makes spectrograms in bounded memory; chunks.py cuts long sounds where nobody
speaks; boundaries.py brings words' times to where the sound says they are.
"""

from adapters.speech.whisper import WhisperSpeech

__all__ = ["WhisperSpeech"]

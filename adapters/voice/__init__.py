"""Voices: English text to speech."""

from adapters.voice.kokoro import KokoroVoice

__all__ = ["KokoroVoice"]

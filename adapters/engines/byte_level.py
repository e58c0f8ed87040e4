"""How byte-level BPE vocabularies (GPT-2, Qwen, Llama 3, Whisper) write bytes as characters."""


def _byte_of_character() -> dict[str, int]:
    plain = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in plain]
    return {chr(byte): byte for byte in plain} | {chr(256 + at): byte for at, byte in enumerate(others)}


BYTE_OF_CHARACTER = _byte_of_character()
"""A printable byte is written as itself, each other byte as a character from U+0100 on.

Source: Radford et al., "Language Models are Unsupervised Multitask Learners" (2019), its published encoder.
"""

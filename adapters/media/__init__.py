"""Untrusted bytes to pixels and samples, and back: the only decoders of uploads."""

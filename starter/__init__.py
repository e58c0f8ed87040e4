"""The embedded default: tiny checkpoints of the real pipeline classes, and the scripts that made them."""

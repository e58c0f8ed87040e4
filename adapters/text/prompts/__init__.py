"""From messages to token ids.

builder         Messages to tokens: chat templates, images, and text that must not be taken for control tokens
control_tokens  Users' text beside control tokens: what they write must never be taken for one
images          Images of a prompt: decoded, made no larger than the model's processor can use, and named for ...
plain_template  Plain conversations by the model's chat template alone
token_cache     Token ids of texts, from a cache where a piece between two control tokens was read before
"""

"""From messages to token ids.

builder         Messages to token ids: chat templates, images, and users' text without control tokens
control_tokens  Escapes control tokens in users' text, which the tokenizer must read as ordinary text
images          Images of a prompt: decoded, scaled down to what the model's processor can use, and hashed for ...
plain_template  Renders plain conversations with the model's chat template alone
token_cache     Token ids of texts, cached by segment: the text between two control tokens
"""

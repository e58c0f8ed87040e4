"""From messages to token ids.

builder         Messages to token ids: chat templates, images, and users' text without control tokens
conversation    Conversations in forms that chat templates can show: earlier turns are rewritten rather than refused
control_tokens  Escapes control tokens in users' text, which the tokenizer must read as ordinary text
fill_in         Fill-in-the-middle prompts, for models whose vocabulary has the tokens for it
images          Images of a prompt: decoded, scaled down to what the model's processor can use, and hashed for ...
length          Texts far beyond a model's context, refused before the work of tokenizing all of them
plain_template  Renders plain conversations with the model's chat template alone
token_cache     Token ids of texts, cached by segment: the text between two control tokens
"""

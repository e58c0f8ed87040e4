"""Scene validation and consistency, on any model that judges images. No engine is known here.

caption_comparison  Images compared by what the model says of each: one at a time is what small models look at best
consistency         Whether keyframes belong together: judged in pairs and all at once, aspect by aspect; the odd ...
decomposition       What a description names, one by one: cut by a rule, or by a model under a schema
defaults            What a vision model's catalog entry says of validation and consistency, under `defaults`
explanations        What both validators share: numbers as text that stay true, and whom to blame
validation          Whether an image shows what a description says, on any model that judges images
"""

"""Scene validation and consistency checks on any model that judges images; independent of engines.

caption_comparison  Compares images by the model's descriptions of each
consistency         Checks whether images belong together, in pairs and all at once, by aspects
decomposition       Splits a description into elements, by a rule or by a model
defaults            Defaults for validation and consistency checks in a model's catalog entry
explanations        Helpers of both checks: error handling, and sentences for the explanations
validation          Checks whether an image matches a description
"""

"""The catalog of models, and configurations of single models.

catalog       The catalog: known models, profiles and aliases, validated when they are read
catalog.yaml  The built-in catalog
model_config  Configuration of one model: defaults per kind, and files
sources       Sources of a model's files, as written in the catalog
yaml_lines    YAML and JSON files with the line of each key, for error messages
"""

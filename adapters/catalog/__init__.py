"""The catalog of models, and configurations of single models.

catalog       Reads catalogs: the built-in one, the operator's, and that in a configuration file of the server
catalog.yaml  The built-in catalog
entries       What a catalog holds: known models, profiles and aliases, validated when they are read
model_config  Configuration of one model: defaults per kind, and files
own_file      Adds a model to the operator's catalog file, and keeps the rest of the file as it is
sources       Sources of a model's files, as written in the catalog
yaml_lines    YAML and JSON files with the line of each key, for error messages
"""

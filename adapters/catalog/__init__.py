"""Which models exist: the catalog, its schema, configuration files of models.

catalog       Which models exist and which are served: the catalog, its profiles and aliases, checked as they are read
model_config  One model's configuration: defaults per kind, and files
sources       Where a model's files may come from, as the configuration writes it
yaml_lines    YAML and JSON files whose every key remembers its line, so that what is wrong with them can be ...
"""

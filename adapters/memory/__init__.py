"""Memory estimates from configuration files.

activations           Memory that grows with a request: KV caches and activations
cards                 What fits on a GPU that this machine need not have
configs               Config files of models: in a model's directory, and of catalog models before a download
estimate              Estimates a model's memory from its config files, before a download and without a GPU
parameters            Counts a model's parameters from its config files
parameters_diffusion  Counts the parameters of diffusers' networks from their configs
placement             Whether a model fits in the memory budgets, for the pool, `doctor` and validation alike
validation            Whether a model's configuration works on this machine, and what would work better
weight_files          Shapes and dtypes in weight files, read from their headers
workloads             How each backend runs a model: its options as arguments of the estimate
"""

"""A model in a process of its own.

child         The child process of one model: hosts its adapter and serves calls over a socket
client        A model in a child process, seen from the server: load, call, stream, cancel, kill
memory_usage  What processes hold of the memory that models compute in: the GPU's where they use one, else RAM
parent_death  Python processes that a library starts for us die with us, even when we are killed
protocol      The private language between the server and a model's child process: length-prefixed MessagePack, ...
"""

"""The subcommands of `muybridge`. Each of `main.COMMANDS` is a module here with a `register(subparsers)`.

`register` adds a parser and sets `run`, a function of the parsed arguments that returns the exit status. Modules here
import what is heavy inside that function, so that `muybridge --help` answers at once.

arguments    Settings as arguments of the command line, shared by the subcommands
config       `muybridge config init|show|check`: write a configuration, print it, find what is wrong in one
demo         `muybridge demo`
demo_server  A starter server in a process of its own, and the story pipeline run against it
doctor       `muybridge doctor`: this machine's hardware, the libraries' versions, and which models fit where
install      `muybridge install`: the libraries that run models, from whatever package index is reachable
main         The command line: parses it and runs one of the subcommands
models       `muybridge models`: list, pull, verify and remove model files; load and unload models of a running server
progress     What commands print: progress bars, and JSON
pull         `muybridge models pull`: models of the catalog, and any other model by its repository
serve        `muybridge serve`
"""

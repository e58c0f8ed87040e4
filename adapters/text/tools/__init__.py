"""Tool calls: grammars and parsers.

grammars      Grammars in llguidance's Lark for answers that call tools, in the very form in which a model writes ...
json_scanner  Where a JSON object ends, found while its text is still coming
parsers       How one model calls tools and shows its thoughts: parsers by name, and the grammars that hold it to them
plain_json    A tool parser for models that write calls as bare or fenced JSON, one object a line, and nothing before
"""

"""Tool calls: grammars and parsers.

grammars      Grammars in llguidance's Lark for answers that call tools, in the form in which the model writes calls
json_rules    JSON of a schema as rules of llguidance's Lark, where its numbers would have no end
json_scanner  Finds the end of a JSON object while its text arrives
parsers       Tool calls and reasoning of one model: parsers by name, and the grammars that enforce their form
plain_json    A tool parser for models that write calls as bare or fenced JSON, one object per line, and nothing before
schemas       JSON schemas in the form that llguidance enforces: the spacing, bounded numbers, unknown keywords
"""

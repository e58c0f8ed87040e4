"""Runs another module in a process that ends with its parent, tied to it before anything large is imported.

`python -m adapters.process.helper PARENT MODULE ARGUMENTS...`, started by `one_shot.py`.
"""

import runpy
import sys

from adapters.process.parent_death import die_with_parent

if __name__ == "__main__":
    die_with_parent(int(sys.argv[1]))
    module = sys.argv[2]
    del sys.argv[1:3]
    runpy.run_module(module, run_name="__main__", alter_sys=True)

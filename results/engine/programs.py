"""A model server that answers with another small program each time.

OpenEvolve and ShinkaEvolve can read its answers.
"""

from __future__ import annotations

import itertools
import sys
import threading

from qdkit.testing import ModelServer

PROGRAM = """<NAME>
change
</NAME>

<DESCRIPTION>
Another number.
</DESCRIPTION>

<CODE>
```python
# EVOLVE-BLOCK-START
def value():
    return {number}
# EVOLVE-BLOCK-END
```
</CODE>"""

if __name__ == "__main__":
    numbers = itertools.count()
    with ModelServer(
        lambda body: PROGRAM.format(number=next(numbers)), latency=float(sys.argv[1])
    ) as server:
        print(server.url, flush=True)
        threading.Event().wait()

"""Set up the interpreter before anything large is imported.

Both cost every command time at its start: OpenBLAS makes a thread per core when numpy is imported,
for matrices that nothing here multiplies (40 ms of processor time); and the collector looks for
garbage after every 700 objects while 200,000 are made that stay (20 ms).
"""

import gc
import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# A pass over so many young objects takes a third of a millisecond.
gc.set_threshold(10_000, 20, 20)

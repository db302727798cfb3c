"""Put a SQLite without the WAL-reset bug in the place of the system's, before Django loads it.

SQLite 3.7.0 to 3.51.2 can lose commits when two connections checkpoint at once (fixed in 3.51.3,
3.50.7 and 3.44.6). Where no wheel exists the check `marketdata.W001` names the risk.
"""

import sys

try:
    import pysqlite3
except ImportError:
    pass
else:
    sys.modules["sqlite3"] = pysqlite3
    sys.modules["sqlite3.dbapi2"] = pysqlite3.dbapi2

"""Small tape files of every layout, and ways to damage them."""

import gzip
import zipfile

MS = 1_704_067_200_000
US = MS * 1000
# Three trades: bought, sold, bought.
SPOT_AGG = """\
2807759891,42283.58000000,0.03859000,3357910001,3357910003,1704067200000,False,True
2807759892,42283.57000000,0.00500000,3357910004,3357910004,1704067200007,True,True
2807759893,42283.58000000,1.00000000,3357910005,3357910009,1704067260001,False,True
"""
HEADER_UM = (
    "agg_trade_id,price,quantity,first_trade_id,last_trade_id,transact_time,is_buyer_maker\n"
)
LAYOUTS = {
    "spot aggregates": SPOT_AGG,
    "spot aggregates in microseconds": """\
2807759891,42283.58000000,0.03859000,3357910001,3357910003,1704067200000000,False,True
2807759892,42283.57000000,0.00500000,3357910004,3357910004,1704067200007000,True,True
2807759893,42283.58000000,1.00000000,3357910005,3357910009,1704067260001000,False,True
""",
    "spot aggregates with both units": """\
2807759891,42283.58000000,0.03859000,3357910001,3357910003,1704067200000,False,True
2807759892,42283.57000000,0.00500000,3357910004,3357910004,1704067200007000,True,True
2807759893,42283.58000000,1.00000000,3357910005,3357910009,1704067260001000,False,True
""",
    "spot aggregates with a header": """\
agg_trade_id,price,quantity,first_trade_id,last_trade_id,transact_time,is_buyer_maker,is_best_match
2807759891,42283.58,0.03859,3357910001,3357910003,1704067200000,false,true
2807759892,42283.57,0.005,3357910004,3357910004,1704067200007,true,true
2807759893,42283.58,1.0,3357910005,3357910009,1704067260001,false,true
""",
    "spot trades": """\
2807759891,42283.58,0.03859,1631.7,1704067200000,False,True
2807759892,42283.57,0.005,211.4,1704067200007,True,True
2807759893,42283.58,1.0,42283.58,1704067260001,False,True
""",
    "futures aggregates": """\
2807759891,42283.58,0.03859,3357910001,3357910003,1704067200000,false
2807759892,42283.57,0.005,3357910004,3357910004,1704067200007,true
2807759893,42283.58,1.0,3357910005,3357910009,1704067260001,false
""",
    "futures aggregates with a header": HEADER_UM
    + """\
2807759891,42283.58,0.03859,3357910001,3357910003,1704067200000,false
2807759892,42283.57,0.005,3357910004,3357910004,1704067200007,true
2807759893,42283.58,1.0,3357910005,3357910009,1704067260001,false
""",
    "futures trades with a header": """\
id,price,qty,quote_qty,time,is_buyer_maker
2807759891,42283.58,0.03859,1631.7,1704067200000,false
2807759892,42283.57,0.005,211.4,1704067200007,true
2807759893,42283.58,1.0,42283.58,1704067260001,false
""",
    "futures trades": """\
2807759891,42283.58,0.03859,1631.7,1704067200000,false
2807759892,42283.57,0.005,211.4,1704067200007,true
2807759893,42283.58,1.0,42283.58,1704067260001,false
""",
    "tardis": """\
exchange,symbol,timestamp,local_timestamp,id,side,price,amount
binance-futures,BTCUSDT,1704067200000000,1704067200003000,2807759891,buy,42283.58,0.03859
binance-futures,BTCUSDT,1704067200007000,1704067200009000,2807759892,sell,42283.57,0.005
binance-futures,BTCUSDT,1704067260001000,1704067260009000,2807759893,buy,42283.58,1.0
""",
    "recorder": """\
timestamp,price,quantity,side,tradeId
1704067200000,42283.58,0.03859,buy,2807759891
1704067200007,42283.57,0.005,sell,2807759892
1704067260001,42283.58,1.0,buy,2807759893
""",
}
# Trades of Bybit carry no number we could use, or one of the file: they count from 1.
BYBIT = {
    "linear": """\
timestamp,symbol,side,size,price,tickDirection,trdMatchID,grossValue,homeNotional,foreignNotional
1704067200.0000,BTCUSDT,Buy,0.03859,42283.58,PlusTick,0a1b,1.6e+11,0.03859,1631.7
1704067200.0070,BTCUSDT,Sell,0.005,42283.57,MinusTick,0a1c,2.1e+10,0.005,211.4
1704067260.0010,BTCUSDT,Buy,1.0,42283.58,PlusTick,0a1d,4.2e+12,1.0,42283.58
""",
    "linear with a flag of retail orders, backwards": """\
timestamp,symbol,side,size,price,tickDirection,trdMatchID,grossValue,homeNotional,foreignNotional,RPI
1704067260.001,BTCUSDT,Buy,1.0,42283.58,PlusTick,0a1d,4.2e+12,1.0,42283.58,0
1704067200.007,BTCUSDT,Sell,0.005,42283.57,MinusTick,0a1c,2.1e+10,0.005,211.4,0
1704067200.000,BTCUSDT,Buy,0.03859,42283.58,PlusTick,0a1b,1.6e+11,0.03859,1631.7,0
""",
    "linear without a header": """\
1704067200.0000,BTCUSDT,Buy,0.03859,42283.58,PlusTick,0a1b,1.6e+11,0.03859,1631.7
1704067200.0070,BTCUSDT,Sell,0.005,42283.57,MinusTick,0a1c,2.1e+10,0.005,211.4
1704067260.0010,BTCUSDT,Buy,1.0,42283.58,PlusTick,0a1d,4.2e+12,1.0,42283.58
""",
    "linear with another order of columns": """\
symbol,timestamp,price,size,side
BTCUSDT,1704067200000,42283.58,0.03859,BUY
BTCUSDT,1704067200007,42283.57,0.005,SELL
BTCUSDT,1704067260001,42283.58,1.0,BUY
""",
    "spot": """\
id,timestamp,price,volume,side,rpi
1,1704067200000,42283.58,0.03859,buy,0
2,1704067200007,42283.57,0.005,sell,0
3,1704067260001,42283.58,1.0,buy,1
""",
    "spot of the first years": """\
id,timestamp,price,volume,side
1,1704067200000,42283.58,0.03859,buy
2,1704067200007,42283.57,0.005,sell
3,1704067260001,42283.58,1.0,buy
""",
}
FRAMES = """\
1704067200001000000 {"lastUpdateId":1,"bids":[],"asks":[]}
1704067200001000000 {"stream":"btcusdt@bookTicker","data":{"u":1,"s":"BTCUSDT","b":"1","B":"1"}}
1704067200002000000 {"stream":"btcusdt@aggTrade","data":{"e":"aggTrade","E":1704067200001,\
"s":"BTCUSDT","a":2807759891,"p":"42283.58","q":"0.03859","f":1,"l":3,"T":1704067200000,\
"m":false,"M":true}}
1704067200008000000 {"stream":"btcusdt@trade","data":{"e":"trade","E":1704067200001,\
"s":"BTCUSDT","t":1,"p":"1.0","q":"1.0","T":1704067200000,"m":false,"M":true}}
1704067200009000000 {"stream":"ethusdt@aggTrade","data":{"e":"aggTrade","E":1704067200001,\
"s":"ETHUSDT","a":7,"p":"2300.1","q":"2.5","f":1,"l":3,"T":1704067200000,"m":true,"M":true}}
1704067200009000000 {"e":"aggTrade","E":1704067200008,"s":"BTCUSDT","a":2807759892,\
"p":"42283.57","q":"0.005","f":4,"l":4,"T":1704067200007,"m":true,"M":true}
1704067260009000000 {"stream":"btcusdt@aggTrade","data":{"e":"aggTrade","E":1704067260002,\
"s":"BTCUSDT","a":2807759893,"p":"42283.58","q":"1.0","f":5,"l":9,"T":1704067260001,\
"m":false,"M":true}}
"""


def plain(path, text):
    """Write text as it is."""
    path.write_text(text, encoding="utf-8", newline="")
    return path


def gzipped(path, text):
    """Write text compressed."""
    path.write_bytes(gzip.compress(text.encode()))
    return path


def zipped(path, *texts):
    """Write texts as files of a zip."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for number, text in enumerate(texts):
            archive.writestr(f"file{number}.csv", text)
    return path


def cut(path, share):
    """Keep only the first part of a file."""
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    return path

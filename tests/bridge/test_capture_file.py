"""Files of frames: appended to, torn, put right; read by any gzip."""

import gzip
import subprocess
import sys
from pathlib import Path

import pytest

from marketdata.bridge import capture_file
from marketdata.bridge.capture_file import CaptureFile, Line, file_name, files_of, read_lines
from marketdata.core.errors import TapeError

ROOT = Path(__file__).resolve().parent.parent.parent
NS = 1_700_000_000_000_000_000


def line(number):
    return b'%019d {"n":%d}\n' % (NS + number, number)


def lines(first, last):
    return b"".join(line(number) for number in range(first, last + 1))


def written(path, *texts):
    """Write each text as a member of its own."""
    file = CaptureFile(path)
    for text in texts:
        file.write(text)
        file.end_member()
    file.close()


def test_members_join_to_one_file_for_any_reader(tmp_path):
    path = tmp_path / "frames.gz"
    written(path, lines(1, 3), lines(4, 4))
    written(path, lines(5, 6))
    assert gzip.decompress(path.read_bytes()) == lines(1, 6)
    assert list(read_lines(path))[4] == Line(NS + 5, b'{"n":5}')


def test_nothing_written_leaves_nothing(tmp_path):
    path = tmp_path / "frames.gz"
    written(path)
    assert path.read_bytes() == b""
    written(path)
    assert path.read_bytes() == b""


@pytest.mark.parametrize("cut", range(1, 60))
def test_a_torn_end_is_closed_after_its_last_whole_line(tmp_path, cut):
    path = tmp_path / "frames.gz"
    written(path, lines(1, 3))
    whole = path.stat().st_size
    written(path, lines(4, 40))
    torn = path.read_bytes()[: whole + cut]
    path.write_bytes(torn)
    before = [row.frame for row in read_lines(path)]
    file = CaptureFile(path)
    assert file.is_repaired
    file.write(lines(41, 42))
    file.close()
    kept = gzip.decompress(path.read_bytes()).splitlines(keepends=True)
    assert kept[-2:] == [line(41), line(42)]
    count = len(kept) - 2
    assert kept[:-2] == [line(number) for number in range(1, count + 1)]
    assert count >= len(before) >= 3


def test_what_was_flushed_survives_a_torn_end(tmp_path):
    path = tmp_path / "frames.gz"
    file = CaptureFile(path)
    file.write(lines(1, 1000))
    file.flush()
    flushed = path.stat().st_size
    file.write(lines(1001, 1001))
    file.close()
    path.write_bytes(path.read_bytes()[: flushed + 3])
    assert [row.frame for row in read_lines(path)][-1] == b'{"n":1000}'
    CaptureFile(path).close()
    assert gzip.decompress(path.read_bytes()) == lines(1, 1000)


@pytest.mark.parametrize("left", [b"\x00" * 500, b"\xffgarbage", capture_file.MARK[:9]])
def test_what_lies_behind_a_whole_member_is_cut_away(tmp_path, left):
    path = tmp_path / "frames.gz"
    written(path, lines(1, 9))
    path.write_bytes(path.read_bytes() + left)
    assert [row.frame for row in read_lines(path)] == [b'{"n":%d}' % n for n in range(1, 10)]
    file = CaptureFile(path)
    assert file.is_repaired
    file.write(lines(10, 10))
    file.close()
    assert gzip.decompress(path.read_bytes()) == lines(1, 10)


def test_a_member_whose_bytes_have_changed_is_kept_up_to_there(tmp_path):
    path = tmp_path / "frames.gz"
    written(path, lines(1, 3), lines(4, 3000))
    data = bytearray(path.read_bytes())
    data[-200] ^= 0xFF
    path.write_bytes(data)
    CaptureFile(path).close()
    kept = gzip.decompress(path.read_bytes())
    assert lines(1, 3000).startswith(kept[: len(lines(1, 1500))])
    assert kept.endswith(b"\n")


def test_a_file_that_another_recorder_made_is_gone_on_with(tmp_path):
    path = tmp_path / "frames.gz"
    path.write_bytes(gzip.compress(lines(1, 50)))
    written(path, lines(51, 52))
    assert gzip.decompress(path.read_bytes()) == lines(1, 52)
    path.write_bytes(gzip.compress(lines(1, 50))[:-9])
    written(path, lines(51, 52))
    told = gzip.decompress(path.read_bytes())
    assert told.endswith(lines(51, 52))
    assert told.startswith(lines(1, 10))


def test_a_mark_across_two_chunks_is_found(tmp_path, monkeypatch):
    path = tmp_path / "frames.gz"
    written(path, lines(1, 3), lines(4, 6))
    for chunk in range(1, 40):
        monkeypatch.setattr(capture_file, "CHUNK", chunk)
        with path.open("rb") as file:
            start = capture_file._last_member(file)
        assert gzip.decompress(path.read_bytes()[start:]) == lines(4, 6)


KILLED = """
import os, signal, sys
from pathlib import Path
from marketdata.bridge.capture_file import CaptureFile
file = CaptureFile(Path(sys.argv[1]))
file.write(sys.argv[2].encode())
file.flush()
file.write(b"1700000000000000099 {never")
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_process_loses_no_line_that_was_flushed(tmp_path):
    path = tmp_path / "frames.gz"
    for turn in (1, 2):
        text = lines(turn * 10, turn * 10 + 4).decode()
        ended = subprocess.run(
            [sys.executable, "-c", KILLED, str(path), text], cwd=ROOT, check=False
        )
        assert ended.returncode == -9
    assert len(list(read_lines(path))) == 10
    CaptureFile(path).close()
    assert gzip.decompress(path.read_bytes()) == lines(10, 14) + lines(20, 24)


@pytest.mark.parametrize(("told", "local_ns"), [
    (b"1700000000123", 1_700_000_000_123_000_000),
    (b"1700000000123456", 1_700_000_000_123_456_000),
    (b"1700000000123456789", 1_700_000_000_123_456_789),
])  # fmt: skip
def test_local_times_of_any_resolution_become_nanoseconds(tmp_path, told, local_ns):
    path = tmp_path / "frames.txt"
    path.write_bytes(told + b' {"a":1}\n\n')
    assert list(read_lines(path)) == [Line(local_ns, b'{"a":1}')]


def test_what_is_no_capture_is_refused_with_its_line(tmp_path):
    path = tmp_path / "frames.gz"
    path.write_bytes(gzip.compress(line(1) + b"price,qty\n"))
    with pytest.raises(TapeError, match=r"frames.gz: line 2: .* seen 'price,qty'"):
        list(read_lines(path))
    with pytest.raises(TapeError, match="a readable file expected"):
        list(read_lines(tmp_path / "nothing.gz"))


def test_names_are_safe_and_found_again(tmp_path):
    names = {
        ("BTCUSDT", "aggTrade"): "btcusdt_aggTrade_20240101.gz",
        ("R_100", "ticks"): "r_100_ticks_20240101.gz",
        ("R", "100_ticks"): "r_100%5Fticks_20240101.gz",
        ("../etc", ".."): "..%2Fetc_%2E%2E_20240101.gz",
        ("币安", "trade"): "%E5%B8%81%E5%AE%89_trade_20240101.gz",
        ("_", "depth"): "__depth_20240101.gz",
    }
    for (symbol, channel), name in names.items():
        assert file_name(symbol, channel, "20240101") == name
        (tmp_path / name).touch()
    for (symbol, _), name in names.items():
        assert files_of(tmp_path, symbol, ["20240101", "20240102"]) == [tmp_path / name]

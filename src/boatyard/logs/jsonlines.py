"""LinuxKit's form of lines: one JSON object each, byte for byte as Go's encoding/json writes it; and its text form.

    {"time":"2026-11-23T19:24:32.213827764Z","source":"web","msg":"say \\"hi\\" \\u003cb\\u003e"}
    2026-11-23T19:24:32.213827764Z;web;say "hi" <b>

Go escapes `<`, `>`, `&`, U+2028 and U+2029 as well, and writes each byte that is no UTF-8 as `\\ufffd`. Work is
done a chunk at a time: what its bytes are is asked once, then one replacement puts the frame around all of its
lines.
"""

from __future__ import annotations

import codecs

from boatyard.logs.moment import nano

_SPECIAL = {
    ord("\\"): b"\\\\",
    ord('"'): b'\\"',
    **{code: b"\\u%04x" % code for code in range(32) if code != 10},
    **{code: b"\\u%04x" % code for code in b"<>&"},
    8: b"\\b",
    9: b"\\t",
    12: b"\\f",
    13: b"\\r",
}
_PLAIN = bytes(code for code in range(128) if code not in _SPECIAL)
_UNDECODABLE = "boatyard-go"


def objects(time: int, source: bytes, data: bytes) -> bytes:
    """`data`: whole lines, each with its newline. They carry the same moment."""
    begin = b'{"time":"%b","source":"%b","msg":"' % (nano(time).encode(), _escaped(source).replace(b"\n", b"\\n"))
    return begin + _escaped(data)[:-1].replace(b"\n", b'"}\n' + begin) + b'"}\n'


def texts(time: int, source: bytes, data: bytes) -> bytes:
    """The same as text. A newline in the name would begin another line: it is written `\\n`, which Go doesn't."""
    begin = b"%b;%b;" % (nano(time).encode(), source.replace(b";", b"\\;").replace(b"\n", b"\\n"))
    return begin + data[:-1].replace(b"\n", b"\n" + begin) + b"\n"


def _escaped(data: bytes) -> bytes:
    odd = data.translate(None, _PLAIN)
    if not odd:
        return data
    present = set(odd)
    if 92 in present:  # before the others bring their own
        data = data.replace(b"\\", b"\\\\")
    for code in present:
        if code < 128 and code != 92:
            data = data.replace(b"%c" % code, _SPECIAL[code])
    if not data.isascii():
        data = data.decode("utf-8", _UNDECODABLE).encode()
        if b"\xe2\x80" in data:
            data = data.replace(b"\xe2\x80\xa8", b"\\u2028").replace(b"\xe2\x80\xa9", b"\\u2029")
    return data


def _undecodable(error: UnicodeError) -> tuple[str, int]:
    """Python takes a cut-off sequence for one error, Go each of its bytes."""
    assert isinstance(error, UnicodeDecodeError)
    return "\\ufffd" * (error.end - error.start), error.end


codecs.register_error(_UNDECODABLE, _undecodable)

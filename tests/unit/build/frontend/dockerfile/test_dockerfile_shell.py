"""Variables, quotes and escapes; where the language is the shell's, against a real one."""

from __future__ import annotations

import shlex
import shutil
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from boatyard.build.frontend.dockerfile import shell, shell_patterns
from boatyard.errors import InvalidError

VALUES = {
    "HOME": "/home",
    "SHELL": "bash",
    "EMPTY": "",
    "PATHS": "/a/b.c/d.c",
    "STARS": "a***b*",
    "BLANKS": " one  two ",
}

WORDS = [
    ("plain", "plain"),
    ("don't pan'ic", "dont panic"),
    ("don\\'t", "don't"),
    ("x\\ny", "xny"),
    ('"x\\ny"', "x\\ny"),
    ('"x\\\\ny"', "x\\ny"),
    ("'x\\ny'", "x\\ny"),
    ("end\\", "end"),
    ("end\\\\", "end\\"),
    ("'end\\'", "end\\"),
    ('"it\'s"', "it's"),
    ("'\"'", '"'),
    ("$HOME/x", "/home/x"),
    ("${HOME}x", "/homex"),
    ("x$HOMEy", "x"),
    ("\\$HOME \\${}", "$HOME ${}"),
    ("'$HOME'", "$HOME"),
    ("\"$HOME '$HOME'\"", "/home '/home'"),
    ('"\\$HOME"', "$HOME"),
    ("$ $. a$", "$ $. a$"),
    ("$1x ${12}y $@@ $$x", "x y @ x"),
    ("${NONE}", ""),
    ("${NONE:-a b}", "a b"),
    ("${EMPTY:-a}|${EMPTY-a}|${NONE-a}", "a||a"),
    ("${EMPTY:+a}|${EMPTY+a}|${HOME:+a}|${NONE+a}", "|a|a|"),
    ("${HOME:?x}${EMPTY?x}", "/home"),
    ("${NONE:-${ALSO:-${HOME}}}", "/home"),
    ('${NONE:-"}"}', "}"),
    ("${NONE:-\\}}x", "}x"),
    ("${NONE:-a}}", "a}"),
    ("${NONE:-a{b}", "a{b"),
    ("${PATHS#*/}|${PATHS##*/}|${PATHS%.c}|${PATHS%%/*}", "a/b.c/d.c|d.c|/a/b.c/d|"),
    ("${PATHS#?a}|${PATHS%?}", "/b.c/d.c|/a/b.c/d."),
    ("${STARS%%\\**}|${STARS#a\\*}|${STARS%\\*}", "a|**b*|a***b"),
    ("${PATHS/.c/}|${PATHS//.c/}|${PATHS//\\//-}", "/a/b/d.c|/a/b/d|-a-b.c-d.c"),
    ("${PATHS/$HOME/x}${PATHS/b*d/x}", "/a/b.c/d.c/a/x.c"),
    ("${PATHS//\\//\\/}", "\\/a\\/b.c\\/d.c"),
    ("${PATHS/#/x}", "/a/b.c/d.c"),
    ("${SHELL/b/$EMPTY}", "ash"),
    ("über$HOMEß", "über"),
    ("über${HOME}ß", "über/homeß"),
]


@pytest.mark.parametrize(("text", "expected"), WORDS)
def test_words(text: str, expected: str) -> None:
    assert shell.expand(text, VALUES).text == expected
    assert shell.expand_word(text, VALUES) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("'a", "single quote is not closed"),
        ('"a', "double quote is not closed"),
        ('"a\\"', "double quote is not closed"),
        ("do\\\\n't", "single quote is not closed"),
        ("${", "missing '}'"),
        ("${HOME", "missing '}'"),
        ("${HOME:-x", "missing '}'"),
        ("${HOME#x", "missing '}'"),
        ("${HOME/x", "missing '/'"),
        ("${HOME//x}", "missing '/'"),
        ("${HOME/x/y", "missing '}'"),
        ("${}", "bad substitution"),
        ("${:-x}", "bad substitution"),
        ("${{HOME}}", "bad substitution"),
        ("${.}", "unsupported modifier '.'"),
        ("${HOME:=x}", "unsupported modifier ':='"),
        ("${HOME=x}", "unsupported modifier '='"),
        ("${HOME:x}", "unsupported modifier ':x'"),
        ("${HOME:#x}", "unsupported modifier ':#'"),
        ("${HOME:%%x}", "unsupported modifier ':%'"),
        ("${HOME^}", "unsupported modifier"),
        ("${HOME#\\x}", "invalid escape"),
        ("${NONE?}", "NONE: is not allowed to be unset"),
        ("${NONE:?}", "NONE: is not allowed to be unset"),
        ("${EMPTY:?}", "EMPTY: is not allowed to be empty"),
        ("${NONE:?give $SHELL}", "^NONE: give bash$"),
        ("${a:-" * 65, "nested more than 64 deep"),
    ],
)
def test_malformed_words_are_refused(text: str, message: str) -> None:
    with pytest.raises(InvalidError, match=message.replace("$S", r"\$S")) as caught:
        shell.expand(text, VALUES)
    assert len(caught.value.message) < 200
    assert caught.value.hint


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ()),
        ("  ", ()),
        ("a b\tc", ("a", "b", "c")),
        ("a\\ b", ("a b",)),
        ("'a b'c \"d e\"", ("a bc", "d e")),
        ("x${BLANKS}y", ("x", "one", "two", "y")),
        ('x"${BLANKS}"y', ("x one  two y",)),
        ("$EMPTY", ()),
        ("'' a", ("a",)),
        ("<< E x", ("<< E", "x")),
        ("a<b", ("a<b",)),
        ("${NONE:-a b}c", ("a", "bc")),
        ("pre${NONE:-a}post", ("preapost",)),
    ],
)
def test_splitting(text: str, words: tuple[str, ...]) -> None:
    assert shell.expand(text, VALUES).words == words


def test_the_backtick_escapes_when_the_file_says_so() -> None:
    assert shell.expand('C:\\x`$HOME`` "`""', VALUES, escape="`").text == 'C:\\x$HOME` "'
    assert shell.expand("${STARS#a`*}", VALUES, escape="`").text == "**b*"
    assert shell.expand("${P//\\//}", {"P": "C:\\x"}, escape="`").text == "C:/x"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$HOME $NONE", "/home $NONE"),
        ("${NONE}", "${NONE}"),
        ("${NONE:-$HOME}", "${NONE:-/home}"),
        ("${NONE##*x}", "${NONE##*x}"),
        ("${NONE//a/b}|${NONE/a/b}", "${NONE//a/b}|${NONE/a/b}"),
    ],
)
def test_unset_variables_can_be_kept(text: str, expected: str) -> None:
    assert shell.expand(text, VALUES, keep_unset=True).text == expected


def test_quotes_and_escapes_can_be_kept() -> None:
    assert shell.expand('\'a\' "b" \\c "\\$"', VALUES, raw_quotes=True, raw_escapes=True).text == (
        '\'a\' "b" \\c "\\$"'
    )


def test_heredoc_bodies_know_no_quotes() -> None:
    body = "it's \"$HOME\"\n\\$HOME \\\\ \\\n'${NONE:-x}'\n"
    assert shell.expand(body, VALUES, ignore_quotes=True).text == "it's \"/home\"\n$HOME \\ \n'x'\n"


@pytest.mark.parametrize(
    ("text", "matched", "unmatched"),
    [
        ("x", (), ()),
        ("$HOME $HOME ${NONE}", ("HOME",), ("NONE",)),
        ("${NONE:-$HOME}", ("HOME",), ("NONE",)),
        ("${HOME:-$OTHER}", ("HOME",), ("OTHER",)),
        ("${EMPTY:-x} '$NONE' \\$NONE", ("EMPTY",), ()),
        ("${PATHS#$EMPTY}${PATHS/$A/$B}", ("EMPTY", "PATHS"), ("A", "B")),
    ],
)
def test_it_tells_which_variables_were_there(text: str, matched: tuple[str, ...], unmatched: tuple[str, ...]) -> None:
    expansion = shell.expand(text, VALUES)
    assert (expansion.matched, expansion.unmatched) == (matched, unmatched)


def test_a_long_word_takes_its_length() -> None:
    assert len(shell.expand("$HOME\\ 'x'" * 100_000, VALUES).text) == 700_000


def test_a_pattern_of_many_stars_takes_the_texts_length() -> None:
    assert shell.expand("${A##" + "*a" * 50 + "*b}", {"A": "a" * 20_000}).text == "a" * 20_000


# -- properties ------------------------------------------------------------------------------------------------------

texts = st.text(alphabet="ab $\\'\"{}:-+?#%/*<}`x\n", max_size=40)


@given(texts, st.sampled_from(["\\", "`"]), st.booleans(), st.booleans())
@settings(max_examples=200)
def test_any_text_is_expanded_or_refused(text: str, escape: str, keep_unset: bool, raw: bool) -> None:
    try:
        shell.expand(text, {"a": "ab", "b": ""}, escape=escape, keep_unset=keep_unset, raw_quotes=raw, raw_escapes=raw)
    except InvalidError as error:
        assert error.message


@given(st.text(st.characters(exclude_characters="$\\'\"<", codec="utf-8")))
@settings(max_examples=100)
def test_text_without_special_characters_stays(text: str) -> None:
    assert shell.expand(text, {}).text == text


@given(st.text(st.characters(codec="utf-8")))
@settings(max_examples=100)
def test_a_value_goes_in_as_it_is(value: str) -> None:
    assert shell.expand('"${V}"', {"V": value}).text == value


@given(st.text(alphabet="ab*?/", max_size=6), st.text(alphabet="ab/", max_size=10), st.text(alphabet="xy", max_size=2))
@settings(max_examples=200)
def test_trimming_and_replacing_leave_the_rest_alone(pattern: str, value: str, replacement: str) -> None:
    parsed = shell_patterns.parse(pattern)
    for longest in (False, True):
        assert value.endswith(shell_patterns.trim_start(parsed, value, longest=longest))
        assert value.startswith(shell_patterns.trim_end(parsed, value, longest=longest))
    assert len(shell_patterns.trim_start(parsed, value, longest=True)) <= len(
        shell_patterns.trim_start(parsed, value, longest=False)
    )
    replaced = shell_patterns.replace(parsed, value, replacement, every=False)
    assert replaced == value or replacement in replaced


# -- against a real shell --------------------------------------------------------------------------------------------

names = st.sampled_from(["A", "E", "N", "P"])
# bash replaces nothing in an empty value, even where `*` would match it.
set_names = st.sampled_from(["A", "P"])
pieces = st.text(alphabet="ab/.-", max_size=3)
patterns = st.lists(st.sampled_from(["a", "b", "/", ".", "*", "?", "\\*", "\\?", "\\\\"]), min_size=1, max_size=4).map(
    "".join
)
# bash 5.2 misses what ${x/*\*/} matches, though ${x##*\*} finds it: no pattern here ends with a protected star.
slash_free = (
    st.lists(st.sampled_from(["a", "b", "\\/", ".", "*", "?", "\\*"]), min_size=1, max_size=4)
    .map("".join)
    .filter(lambda pattern: not pattern.endswith("\\*"))
)


def braces(words: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.builds("${{{}}}".format, names),
        st.builds("${{{}{}{}}}".format, names, st.sampled_from([":-", "-", ":+", "+"]), words),
        st.builds("${{{}{}{}}}".format, names, st.sampled_from(["#", "##", "%", "%%"]), patterns),
        st.builds(
            "${{{}{}{}/{}}}".format, set_names, st.sampled_from(["/", "//"]), slash_free, st.text("xy", max_size=2)
        ),
    )


expansions = st.recursive(pieces, braces, max_leaves=4)
quoted = st.one_of(
    expansions,
    expansions.map('"{}"'.format),
    pieces.map("'{}'".format),
    st.sampled_from(["\\$A", "\\\\", "\\'", '"\\$A"', '"\\""', "'\"'"]),
)
VARIABLES = {"A": "ab/a.b", "E": "", "P": "/a*b?/a\\b/"}


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash to compare with")
@given(st.lists(st.lists(quoted, max_size=4).map("".join), min_size=50, max_size=50))
@settings(max_examples=15, deadline=None)
def test_words_become_what_bash_makes_of_them(words: list[str]) -> None:
    assigned = "\n".join(f"v={word}\nprintf '%s\\0' \"$v\"" for word in words)
    setup = "".join(f"{name}={shlex.quote(value)}\n" for name, value in VARIABLES.items())
    ran = subprocess.run(["bash", "-c", setup + assigned], env={}, capture_output=True, text=True, check=True)
    assert [shell.expand(word, VARIABLES).text for word in words] == ran.stdout.split("\0")[:-1]

from __future__ import annotations

import json

from boatyard.cli.table import listing, table

ROWS = [{"ID": "1", "Name": "日本", "More": [1]}, {"ID": "222", "Name": "x\x1b[31m", "More": []}]
HEADERS = {"Name": "NAME", "ID": "ID"}


def test_columns_line_up_whatever_letters_are_in_them() -> None:
    assert list(listing(ROWS, HEADERS)) == ["NAME   ID", "日本   1", "x      222"]


def test_an_empty_list_is_its_heading() -> None:
    assert list(listing([], HEADERS)) == ["NAME   ID"]


def test_json_is_an_object_a_line_with_every_field() -> None:
    assert [json.loads(line) for line in listing(ROWS, HEADERS, "json")] == ROWS


def test_a_template_shows_a_row_a_line() -> None:
    assert list(listing(ROWS, HEADERS, "{{.ID}}-{{len .More}}")) == ["1-1", "222-0"]


def test_a_table_template_has_headings_of_its_fields() -> None:
    assert list(listing(ROWS, HEADERS, r"table {{.ID}}\t{{json .More}}")) == ["ID    MORE", "1     [1]", "222   []"]


def test_quiet_shows_one_field() -> None:
    assert list(listing(ROWS, HEADERS, quiet="ID")) == ["1", "222"]


def test_short_lines_are_no_trouble() -> None:
    assert list(table([["a", "b"], ["c"]])) == ["a   b", "c"]

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from boatyard.cli.template import Template, fields_of
from boatyard.errors import InvalidError

ROW = {
    "Name": "app",
    "Size": 3,
    "Tags": ["a", "b"],
    "Config": {"Env": {"A": "1"}, "User": ""},
    "Ok": True,
    "None": None,
}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("{{.Name}}: {{.Size}}", "app: 3"),
        ("{{ .Config.Env.A }}", "1"),
        ("{{json .Tags}}", '["a", "b"]'),
        ("{{.Name | upper}}", "APP"),
        ("{{upper .Name | printlnx}}", None),
        ('{{join .Tags ", "}}', "a, b"),
        ('{{index .Config.Env "A"}}{{index .Tags 1}}', "1b"),
        ("{{range .Tags}}<{{.}}>{{end}}", "<a><b>"),
        ("{{range .Config.Env}}{{.}}{{end}}", "1"),
        ("{{range .Config.User}}x{{else}}none{{end}}", "none"),
        ("{{if .Config.User}}user{{else if .Ok}}ok{{else}}neither{{end}}", "ok"),
        ("{{with .Config}}{{.Env}}{{end}}", "map[A:1]"),
        ('{{if eq .Name "app"}}yes{{end}}', "yes"),
        ("{{if not .Config.User}}no user{{end}}", "no user"),
        ("{{if and .Ok (eq .Size 3)}}both{{end}}", "both"),
        ("a {{- .Name -}} b", "aappb"),
        ("{{/* said nothing */}}x", "x"),
        (r"{{.Name}}\t{{.Size}}", "app\t3"),
        ("{{len .Tags}}", "2"),
        ("{{.Tags}}", "[a b]"),
        ("{{.Ok}}{{.None}}", "true<no value>"),
        ("{{println .Name .Size}}", "app 3\n"),
        ("{{`raw`}}", "raw"),
        ("{{truncate .Name 2}}", "ap"),
        ("{{pad .Name 1 1}}", " app "),
        ('{{split "a/b" "/"}}', "[a b]"),
    ],
)
def test_the_subset_does_what_gos_templates_do(text: str, shown: str | None) -> None:
    if shown is None:
        with pytest.raises(InvalidError, match="no function 'printlnx'"):
            Template(text).render(ROW)
    else:
        assert Template(text).render(ROW) == shown


@pytest.mark.parametrize(
    "text",
    [
        "{{.Nmae}}",
        "{{.Name",
        "{{if .Name}}",
        "{{end}}",
        "{{}}",
        "{{.Name.First}}",
        "{{uper .Name}}",
        "{{.A b}}",
        "{{(.A}}",
    ],
)
def test_what_is_malformed_or_missing_is_told_with_a_hint_or_reason(text: str) -> None:
    with pytest.raises(InvalidError):
        Template(text).render(ROW)


def test_a_misspelt_field_is_answered_with_the_right_one() -> None:
    with pytest.raises(InvalidError) as caught:
        Template("{{.Nmae}}").render(ROW)
    assert caught.value.hint == "did you mean 'Name'?"


def test_the_fields_of_a_table_are_found_in_order() -> None:
    assert fields_of("{{.ID}}\t{{upper .Size}}\t{{json .Labels.x}}") == ["ID", "Size", "Labels"]


@given(st.text(alphabet='{}.-|() "`abIfendrgjso/*\\', max_size=40))
def test_no_template_upsets_the_parser(text: str) -> None:
    try:
        Template(text).render(ROW)
    except InvalidError:
        pass

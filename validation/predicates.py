"""Predicates over agents, as scenario files and media audiences write them: SQL conditions, parsed and never executed.

    PredicateError   the text is no condition, or names an unknown attribute or level, or uses anything but comparisons

A predicate is compiled to a polars expression node by node; only comparisons of attributes with literals, IN lists,
BETWEEN, IS NULL, AND, OR and NOT have a translation, so nothing else can run.
"""

from functools import reduce
from operator import and_, or_

import polars as pl
import sqlglot
from sqlglot import expressions as sql
from sqlglot.errors import SqlglotError

from validation.attributes import ATTRIBUTE_BY_NAME

NUMERIC_COLUMNS = ("age", "agent_id", "household_id")


class PredicateError(ValueError):
    """A predicate over agents cannot be used; the message says what was found and what is allowed."""


def compile_predicate(text: str | None) -> pl.Expr:
    """Turns a SQL condition over agents into a polars expression; None means everybody.

    Args:
        text: for example "state = 'NY' and age >= 18 and party in ('democrat', 'independent')".

    Raises:
        PredicateError: the text does not parse, or uses a column, level or construct that is not allowed.
    """
    if text is None or not text.strip():
        return pl.lit(True)
    try:
        return _condition(sqlglot.parse_one(text, dialect="duckdb"), text)
    except RecursionError as error:
        raise PredicateError(f"predicate {text[:80]!r}… is nested too deeply. Use fewer parentheses.") from error
    except SqlglotError as error:
        raise PredicateError(
            f"predicate {text!r} is not a SQL condition ({str(error).splitlines()[0]}). "
            "Write comparisons of attributes, for example: state = 'NY' and age >= 18"
        ) from error


def _condition(node: sql.Expr, text: str) -> pl.Expr:
    """Translates a node that stands where a truth value is expected."""
    if isinstance(node, sql.Paren):
        return _condition(node.this, text)
    if isinstance(node, sql.And):
        return reduce(and_, (_condition(part, text) for part in node.flatten()))
    if isinstance(node, sql.Or):
        return reduce(or_, (_condition(part, text) for part in node.flatten()))
    if isinstance(node, sql.Not):
        return ~_condition(node.this, text)
    if isinstance(node, sql.Boolean):
        return pl.lit(bool(node.this))
    if isinstance(node, sql.EQ | sql.NEQ | sql.LT | sql.LTE | sql.GT | sql.GTE):
        return _comparison(node, text)
    if isinstance(node, sql.In) and node.expressions:
        name = _column(node.this, text)
        return pl.col(name).is_in([_literal(item, name, text) for item in node.expressions])
    if isinstance(node, sql.Between):
        name = _column(node.this, text)
        low, high = (_literal(node.args[bound], name, text) for bound in ("low", "high"))
        return pl.col(name).is_between(low, high)
    if isinstance(node, sql.Is) and isinstance(node.expression, sql.Null):
        return pl.col(_column(node.this, text)).is_null()
    raise PredicateError(
        f"predicate {text!r} uses {node.sql(dialect='duckdb')!r}, which is not allowed. "
        "Allowed: =, <>, <, <=, >, >=, IN, BETWEEN, IS NULL, AND, OR, NOT"
    )


def _comparison(node: sql.Expr, text: str) -> pl.Expr:
    name = _column(node.this, text)
    value = _literal(node.expression, name, text)
    column = pl.col(name)
    if isinstance(node, sql.EQ):
        return column == value
    if isinstance(node, sql.NEQ):
        return column != value
    if name not in NUMERIC_COLUMNS:
        raise PredicateError(
            f"predicate {text!r} orders the attribute {name!r}, which has levels, not numbers. "
            f"Use = or IN with its levels: {', '.join(ATTRIBUTE_BY_NAME[name].levels)}"
        )
    if isinstance(node, sql.LT):
        return column < value
    if isinstance(node, sql.LTE):
        return column <= value
    if isinstance(node, sql.GT):
        return column > value
    return column >= value


def _column(node: sql.Expr, text: str) -> str:
    allowed = (*NUMERIC_COLUMNS, *ATTRIBUTE_BY_NAME)
    if not isinstance(node, sql.Column) or node.table:
        raise PredicateError(
            f"predicate {text!r} compares {node.sql(dialect='duckdb')!r}; the left side must be an attribute. "
            f"Attributes: {', '.join(allowed)}"
        )
    if node.name not in allowed:
        raise PredicateError(
            f"predicate {text!r} names the unknown attribute {node.name!r}. Attributes: {', '.join(allowed)}"
        )
    return node.name


def _literal(node: sql.Expr, name: str, text: str) -> str | float:
    is_negative = isinstance(node, sql.Neg)
    inner = node.this if is_negative else node
    if not isinstance(inner, sql.Literal):
        raise PredicateError(
            f"predicate {text!r} compares {name!r} with {node.sql(dialect='duckdb')!r}; "
            "only literal numbers and quoted levels are allowed"
        )
    if name in NUMERIC_COLUMNS:
        if inner.is_string:
            raise PredicateError(f"predicate {text!r} compares the number {name!r} with the text {inner.this!r}")
        return -float(inner.this) if is_negative else float(inner.this)
    levels = ATTRIBUTE_BY_NAME[name].levels
    if not inner.is_string or inner.this not in levels:
        raise PredicateError(
            f"predicate {text!r} asks for {name} = {inner.this!r}, which is not a level. Levels: {', '.join(levels)}"
        )
    return inner.this

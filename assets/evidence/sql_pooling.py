"""Pieces that SQL of the report shares: quoting, and intervals over replicates by one rule."""

Z = 1.959963984540054

T_EXPANSION = (
    (Z**3 + Z) / 4,
    (5 * Z**5 + 16 * Z**3 + 3 * Z) / 96,
    (3 * Z**7 + 19 * Z**5 + 17 * Z**3 - 15 * Z) / 384,
    (79 * Z**9 + 776 * Z**7 + 1482 * Z**5 - 1920 * Z**3 - 945 * Z) / 92160,
)
"""Student's t quantile minus the normal one, by powers of 1/ν. Source: Abramowitz & Stegun (1964), equation 26.7.5."""


def pooled(value: str, lowest: int, highest: int = 1) -> str:
    """Columns lower and upper of a mean over replicates, from their intervals and their spread, by Rubin's rule.

    With W the mean squared standard error within m replicates and B the variance between them, the variance is
    W + (1 + 1/m) B, with Student's t of ν = (m − 1)(1 + W / ((1 + 1/m) B))² degrees of freedom; one replicate keeps its
    own interval. The same rule gives the decision shares in the terminal.

    Source: Rubin (1987), Multiple imputation for nonresponse in surveys, section 3.1.
    """
    within = f"avg((greatest(upper - {value}, {value} - lower) / {Z:.6f}) ** 2)"
    between = f"((1 + 1.0 / count(*)) * coalesce(var_samp({value}), 0))"
    inverse = f"coalesce(1.0 / nullif((count(*) - 1) * (1 + {within} / nullif({between}, 0)) ** 2, 0), 0)"
    terms = " + ".join(f"{term:.5f} * {inverse} ** {power}" for power, term in enumerate(T_EXPANSION, start=1))
    spread = f"({Z:.5f} + {terms}) * sqrt({within} + {between})"
    return (
        f"case when count(*) = 1 then min(lower) else greatest({lowest}, avg({value}) - {spread}) end as lower,\n"
        f"         case when count(*) = 1 then max(upper) else least({highest}, avg({value}) + {spread}) end as upper"
    )


def quoted(text: str) -> str:
    """A text as a SQL literal."""
    return "'" + text.replace("'", "''") + "'"

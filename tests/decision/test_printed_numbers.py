"""What is printed: as many decimals as the spread supports, the same in a row or table, and one clear message for a wrong argument."""

import pytest

import bayesdtr as dtr
from bayesdtr.decision.values import Summary
from bayesdtr.errors import DecisionError, StudyError
from bayesdtr.gallery import codiacs
from bayesdtr.text import decimal, places


@pytest.mark.parametrize(("spreads", "figures", "wanted"), [
    ((0.393,), 3, 3), ((3.09,), 3, 2), ((117.0,), 3, 0), ((2500.0,), 3, 0), ((1.17, 3.09), 3, 2), ((0.0022, 0.001), 2, 4), ((9.99e-4,), 3, 6),
    ((1e-12, 2.0), 3, 2),  # hardly varies: does not lengthen the others
    ((1e-12,), 3, 8), ((0.0,), 3, None), ((float("nan"),), 3, None), ((float("inf"),), 3, None), ((), 3, None),
])
def test_decimals_follow_the_smallest_spread_that_counts(spreads, figures, wanted):
    assert places(*spreads, figures=figures) == wanted


@pytest.mark.parametrize(("value", "digits", "wanted"), [
    (12.0, 2, "12.00"), (10427.4, 0, "10427"), (-0.001, 2, "0.00"), (1.23456, None, "1.235"), (float("nan"), 2, "nan"), (float("inf"), 2, "inf"),
])
def test_a_number_in_text(value, digits, wanted):
    assert decimal(value, digits) == wanted


def test_a_summary_has_one_precision():
    assert str(Summary(12.0, 0.4221, 11.2, 12.8101, 0.01, 0.95)) == "12.000 (SD 0.422, 95% equal-tailed interval 11.200 to 12.810)"
    assert str(Summary(9888.1, 282.4, 9341.2, 10427.4, 5.0, 0.9)) == "9888 (SD 282, 90% equal-tailed interval 9341 to 10427)"
    assert str(Summary(2.5, 0.0, 2.5, 2.5, 0.0, 0.95)) == "2.5 (SD 0, 95% equal-tailed interval 2.5 to 2.5)"


def test_accuracy_prints_a_line_for_each_decision(codiacs_analysis):
    assert str(codiacs_analysis.regime.accuracy) == "first: enumeration, exact to rounding\nsecond: enumeration, exact to rounding"


def test_a_certainty_equivalent_fits_a_terminal(codiacs_analysis):
    averse = dtr.with_utility(codiacs_analysis.posterior, dtr.Utility("bdi_drop", attitude=dtr.Exponential(0.05)))
    said = str(dtr.optimize(averse).certainty_equivalent())
    assert max(map(len, said.splitlines())) <= 100 and "Monte Carlo error" in said and "Exponential(risk_aversion=0.05)" in said


def test_wrong_arguments_say_what_to_do(codiacs_analysis):
    posterior, regime = codiacs_analysis.posterior, codiacs_analysis.regime
    with pytest.raises(StudyError, match=r"safety takes SafetyGate\(\.\.\.\), one or a list, got 3"):
        dtr.honest_value(codiacs.study, codiacs.patients(), seed=1, safety=3)
    with pytest.raises(StudyError, match="one or a list, got 'improved'"):
        dtr.optimize(posterior, safety="improved")
    with pytest.raises(DecisionError, match=r"covariates: none\. For a column"):
        dtr.by_group(regime, "first")
    for draw, said in ((dtr.plot.acceptability, r"what acceptability\(posterior, \.\.\.\) returns, got Posterior"),
                       (dtr.plot.evsi, r"what evsi\(posterior, \.\.\.\) returns, got Posterior"),
                       (dtr.plot.explanation, r"what regime\.explain\(\.\.\.\) returns, got Posterior")):
        with pytest.raises(DecisionError, match=said):
            draw(posterior)

"""What other verbs found, in reports and summaries: every kind with its numbers, foreign ones refused, nothing shown where withheld."""

import dataclasses
import html
import re

import pytest

import bayesdtr as dtr
from bayesdtr.errors import DecisionError
from bayesdtr.gallery import codiacs
from bayesdtr.reporting import summary
from bayesdtr.reporting.material import Material
from bayesdtr.reporting.report import render

HALVES = ["odd", "even"] * 54


@pytest.fixture(scope="module")
def found(codiacs_analysis):
    """A finding of every kind, in the reverse of the order in which a report shows them."""
    regime, posterior = codiacs_analysis.regime, codiacs_analysis.posterior
    written = {"usual": {"first": "medication", "second": "stay"}, "therapy": {"first": "therapy", "second": "stay"}}
    return {
        "evsi": dtr.evsi(posterior, [50, 100], seed=1, population=1000, cost_per_patient=1.0),
        "acceptability": dtr.acceptability(posterior, effect="bdi_drop", cost={"first": {"therapy": 900}}, thresholds=[0, 100, 200], regimes=written),
        "risk_profile": dtr.risk_profile(posterior, regimes=written),
        "policy_tree": dtr.policy_tree(regime, depth=1, refits=0),
        "fair": dtr.fair(posterior, HALVES),
        "by_group": dtr.by_group(regime, HALVES),
        "value_of_information": dtr.value_of_information(posterior),
    }


def results(text: str) -> str:
    body = html.unescape(re.sub(r"<[^>]*>", " ", re.sub(r"<style>.*?</style>", "", text, flags=re.S)))
    return re.sub(r"\s+", " ", body.split("8. Results")[-1].split("9. Limitations")[0])


@pytest.fixture(scope="module")
def shown(codiacs_analysis, found):
    return render(Material.of(codiacs_analysis.regime, codiacs_analysis.comparison, findings=list(found.values())))


def test_every_kind_has_its_place(shown, codiacs_analysis):
    headings = ["What it would be worth to know more", "Value by", "The best regime under which no subgroup loses", "Simpler rules",
                "Risk of single patients and of being wrong", "Net monetary benefit", "What a further trial would be worth"]
    text = results(shown)
    at = [text.index(h) for h in headings]
    assert at == sorted(at)
    bare = render(Material.of(codiacs_analysis.regime, codiacs_analysis.comparison))
    assert not any(h in results(bare) for h in headings)
    assert shown.count("<img") == bare.count("<img") + 2  # acceptability curves, value of a further trial


def test_numbers_are_those_of_the_findings(shown, found):
    text = results(shown)
    known, groups, tree = found["value_of_information"], found["by_group"], found["policy_tree"]
    gain, error = re.search(r"a patient would gain ([\d.]+) of utility on average .*?\(Monte Carlo error ([\d.]+)\)", text).groups()
    assert float(gain) == pytest.approx(known.evpi, abs=0.0006) and error == f"{known.evpi_error:.2g}"
    for row in groups.rows:
        assert f"{row.label} {row.patients} {row.value.mean:.1f} {row.value.lower:.1f} to {row.value.upper:.1f} {row.gain.mean:.1f}" in text
    assert f"minus theirs: {tree.price().mean:.1f}" in text and all(" ".join(line.split()) in text for line in tree.lines())
    for kind in ("fair", "risk_profile", "acceptability", "evsi"):
        for line in str(found[kind]).splitlines():
            assert " ".join(line.split()) in text, (kind, line)
    assert "Fairness: value and gain by subgroup" in html.unescape(shown) and "under Results" in shown


def test_the_summary_holds_numbers(codiacs_analysis, found):
    told = summary(codiacs_analysis.regime, codiacs_analysis.comparison, findings=[found["by_group"], found["value_of_information"]])
    known, (groups,) = told["value_of_information"], told["subgroups"]
    assert known["evpi"] == pytest.approx(found["value_of_information"].evpi) and known["known"] == ["before first", "before second", "never"]
    assert [r["patients"] for r in groups["rows"]] == [54, 54]
    assert groups["rows"][0]["value"]["mean"] == pytest.approx(found["by_group"].rows[0].value.mean)
    bare = summary(codiacs_analysis.regime, codiacs_analysis.comparison)
    assert bare["value_of_information"] is None and bare["subgroups"] == []


def test_nothing_is_shown_where_checks_fail(codiacs_analysis, found):
    posterior = codiacs_analysis.posterior
    verdict = dataclasses.replace(posterior.verdict, status="fail", reasons=("R-hat of bdi_drop::mean is 1.400.",))
    regime = dataclasses.replace(codiacs_analysis.regime, posterior=dataclasses.replace(posterior, verdict=verdict))
    text = results(render(Material.of(regime, codiacs_analysis.comparison, findings=list(found.values()))))
    assert "Withheld" in text
    for word in ("What it would be worth", "Value by", "no subgroup loses", "Simpler rules", "Net monetary benefit", "further trial", "therapy"):
        assert word not in text, word
    told = summary(regime, codiacs_analysis.comparison, findings=list(found.values()))
    assert told["value_of_information"] is None and told["subgroups"] == []


@pytest.mark.parametrize(("given", "said"), [
    (3, "takes a list of what other verbs returned, got int"),
    ("ties", "takes a list of what other verbs returned, got str"),
    ([3], "a report shows 'InformationValue', .* got int"),
])
def test_what_no_verb_returned_is_refused(codiacs_analysis, given, said):
    with pytest.raises(DecisionError, match=said):
        summary(codiacs_analysis.regime, codiacs_analysis.comparison, findings=given)


def test_a_finding_alone_is_no_list(codiacs_analysis, found):
    with pytest.raises(DecisionError, match=r"write findings=\[\.\.\.\]"):
        summary(codiacs_analysis.regime, codiacs_analysis.comparison, findings=found["value_of_information"])


def test_findings_of_another_posterior_are_refused(codiacs_analysis, found):
    other = dtr.optimize(dtr.fit(codiacs.study, codiacs.patients(), seed=2, engine="exact", draws=4000))
    comparison = dtr.compare(other.posterior)
    for kind, said in (("value_of_information", "over another rule"), ("policy_tree", "policy tree is of another posterior"),
                       ("fair", "fair regime is of another posterior")):
        with pytest.raises(DecisionError, match=said):
            summary(other, comparison, findings=[found[kind]])


def test_findings_of_another_regime_or_utility_are_refused(codiacs_analysis, found):
    twice = dtr.optimize(dtr.with_utility(codiacs_analysis.posterior, dtr.Utility({"bdi_drop": 2.0})))
    for kind, said in (("value_of_information", "over another rule"), ("by_group", "of other patients or of another regime"),
                       ("policy_tree", "another posterior or utility"), ("risk_profile", "risk profile is of the utility bdi_drop")):
        with pytest.raises(DecisionError, match=said):
            summary(twice, findings=[found[kind]])
    # Gates change the rule, and with it what knowing more is worth and who gains.
    gate = dtr.SafetyGate("improved", below=0.53, probability=0.2)
    gated = dtr.optimize(codiacs_analysis.posterior, safety=gate, default={"first": "medication"})
    assert gated.rules() != codiacs_analysis.regime.rules()
    for kind in ("value_of_information", "by_group"):
        with pytest.raises(DecisionError, match="findings: "):
            summary(gated, codiacs_analysis.comparison, findings=[found[kind]])

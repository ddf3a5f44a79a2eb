"""The report: sections in order, one self-contained file, hostile labels escaped, failed checks withhold, a first page without symbols."""

import dataclasses
import datetime
import html
import re
from types import SimpleNamespace

import pandas as pd
import pytest

import bayesdtr as dtr
from bayesdtr.data import read
from bayesdtr.errors import DecisionError, FileError
from bayesdtr.reporting import report, summary, write_figures
from bayesdtr.reporting.material import Material
from bayesdtr.reporting.report import render
from bayesdtr.reporting.words import plain_page, utility_words, wrong_of
from bayesdtr.simulators import declined_rerandomization

TITLES = ["In plain words", "Contents", "1. Identification", "2. Estimand", "3. Timeline, model and assumptions", "4. Priors", "5. Data",
          "6. Computation", "7. Posterior predictive checks", "8. Results", "9. Limitations",
          "10. What this report does not provide", "11. How to run it again"]
SYMBOLS = re.compile(r"[<>=%±≥≤≈~^_|×∝{}\\#$*+/αβγδεθμσπτψΔΣ]")


def failing(regime):
    posterior = regime.posterior
    convergence = dataclasses.replace(posterior.verdict.convergence, rhat=1.4)
    verdict = dataclasses.replace(posterior.verdict, status="fail", reasons=("R-hat of bdi_drop::mean is 1.400.",), convergence=convergence)
    return dataclasses.replace(regime, posterior=dataclasses.replace(posterior, verdict=verdict))


TODAY = datetime.date(2026, 3, 1)
"""A suite may run past midnight."""


@pytest.fixture(scope="module")
def documents(codiacs_analysis, adhd_analysis, hypertension_analysis):
    return {n: render(Material.of(a.regime, a.comparison), command="bayesdtr run x", today=TODAY)
            for n, a in (("codiacs", codiacs_analysis), ("adhd", adhd_analysis), ("hypertension", hypertension_analysis))}


def words(document: str) -> str:
    body = re.sub(r"<style>.*?</style>", "", document, flags=re.S)
    return html.unescape(re.sub(r"<[^>]*>", " ", body))


@pytest.mark.parametrize("name", ["codiacs", "adhd", "hypertension"])
def test_sections_stand_in_order_and_alone(documents, name):
    text = documents[name]
    assert re.findall(r"<h2>(.*?)</h2>", text) == TITLES
    assert not re.search(r"(src|href)\s*=\s*[\"']?(https?:|//|file:)", text, flags=re.I)
    assert not re.search(r"url\(|@import|<script|<link", text, flags=re.I)
    assert set(re.findall(r'src="(data:[^;]*)', text)) == {"data:image/svg+xml"} and text.count("<img") == 6
    assert all(re.search(r'alt="[^"]{20,}"', tag) for tag in re.findall(r"<img[^>]*>", text))


def test_every_claim_of_an_ethics_board(documents):
    text = words(documents["codiacs"])
    for wanted in ("Sequential exchangeability at first", "the analyst (treatments were observed)", "Consistency", "Positivity at second",
                   "Honest value", "not provided", "aligned with ROBUST", "equal-tailed", "Smallest bulk ESS", "Values of the embedded regimes",
                   "bayesdtr run x", "Safety: constraints", "Operating characteristics", "Counted under the treatment that was chosen"):
        assert wanted in text, wanted
    assert "compliant" not in text and "E[max" not in text
    assert "the design" in words(documents["adhd"])


def test_page_one_calls_codiacs_exploratory(codiacs_analysis):
    page = plain_page(Material.of(codiacs_analysis.regime, codiacs_analysis.comparison))
    assert "exploratory" in page.alarms[0] and "Only two patients received stay" in page.alarms[0]
    assert "observed, not randomized" in page.alarms[1]
    assert page.recommendation[0] == "At “first”: therapy, for everyone."


def test_page_one_holds_no_symbol(any_analysis):
    page = plain_page(Material.of(any_analysis.regime, any_analysis.comparison))
    assert not SYMBOLS.search(page.text), SYMBOLS.search(page.text)
    for jargon in ("R-hat", "posterior", "P(", "ESS", "prior "):
        assert jargon not in page.text


def test_times_and_those_who_left_in_words():
    study = declined_rerandomization.study()
    posterior = dtr.fit(study, declined_rerandomization.simulate(150, seed=3), seed=1, engine="laplace", draws=100)
    regime = dtr.optimize(posterior)
    page = plain_page(Material.of(regime, dtr.compare(posterior)))
    assert "Best means that the share of patients for whom “t1” and “t2” together last longer than 12 is as large as possible." in page.question
    wrong = " ".join(page.wrong)
    assert "followed for less than the whole of “t1” or “t2”" in wrong and "Some values of patients are missing" in wrong
    assert not SYMBOLS.search(page.text), SYMBOLS.search(page.text)
    # Where nobody declined, what is not there comes after the end of a course or of follow-up: it is not missing.
    complete = dataclasses.replace(posterior, trajectories=read(study, declined_rerandomization.simulate(150, seed=3, declining=False)))
    wrong = " ".join(wrong_of(Material.of(dataclasses.replace(regime, posterior=complete), dtr.compare(posterior))))
    assert "followed for less than the whole" in wrong and "are missing" not in wrong


@pytest.mark.parametrize(("utility", "said"), [
    (dtr.RestrictedMean(["t1", "t2"], horizon=24), "the average of the time that “t1” and “t2” together last, counted up to 24"),
    (dtr.QualityAdjusted({"t1": 0.5, "t2": 1}, horizon=2.5, discount_rate=0.03),
     "the average of the time lived up to 2.5, in which a unit of “t1” counts 0.5 and a unit of “t2” counts 1, later time less than earlier"),
    ({dtr.SurvivalAt(["t1", "t2"], at=12): 10.0, "response": -1.0},
     "the average of a score that adds up response counted minus 1 times and one if “t1” and “t2” together last longer than 12 counted 10 times"),
])
def test_utilities_in_words(utility, said):
    study = dtr.Study(*declined_rerandomization.study().timeline, utility=dtr.Utility(utility))
    assert utility_words(SimpleNamespace(study=study)) == said


def test_randomized_studies_raise_no_alarm_about_choice(adhd_analysis):
    page = plain_page(Material.of(adhd_analysis.regime, adhd_analysis.comparison))
    assert page.alarms == ()


def test_a_failed_verdict_withholds_everywhere(codiacs_analysis, tmp_path):
    regime = failing(codiacs_analysis.regime)
    text = render(Material.of(regime, codiacs_analysis.comparison))
    page = plain_page(Material.of(regime, codiacs_analysis.comparison))
    assert "No recommendation is given" in page.alarms[0] and "gave different answers" in page.alarms[0]
    assert re.findall(r"<h2>(.*?)</h2>", text) == TITLES and text.count("<img") == 3
    results = words(text).split("8. Results")[-1].split("9. Limitations")[0]
    assert "Withheld" in results and "therapy" not in results and "15.4" not in words(text)
    found = summary(regime, codiacs_analysis.comparison)
    assert found["withheld"] and found["regime"]["rules"] == [] and found["decisions"] == [] and found["value"] is None
    assert all(r["mean"] is None and r["p_best"] is None for r in found["embedded_regimes"])
    assert {p.name for p in write_figures(regime, codiacs_analysis.comparison, tmp_path / "f")} == {"timeline.png", "priors.png", "predictive.png"}


def test_hostile_labels_are_escaped(tmp_path):
    labels = ["<script>alert(1)</script>", 'b" onload="x', "{{ 7 * 7 }} & $x^2$"]
    study = dtr.Study(dtr.Decision("a", labels), dtr.Response("<b>y<b>", dtr.Normal(), model=dtr.Saturated()),
                      utility="<b>y<b>", estimand={"<i>death<i>": "<img src=http://x.example>"})
    frame = pd.DataFrame({"a": labels * 6, "<b>y<b>": [float(i * i % 7) for i in range(18)]})
    regime = dtr.optimize(dtr.fit(study, frame, seed=1, engine="exact", draws=400))
    text = report(regime, tmp_path / "r.html", title="<script>t</script>").read_text(encoding="utf-8")
    for raw in ("<script", "<b>", "<i>death", "<img src=http", 'onload="x"'):
        assert raw not in text
    assert "{{ 7 * 7 }}" in html.unescape(text)


def test_only_html_is_written(codiacs_analysis, tmp_path):
    with pytest.raises(FileError, match=r"\.html"):
        report(codiacs_analysis.regime, tmp_path / "report.pdf")
    with pytest.raises(FileError, match="does not exist"):
        report(codiacs_analysis.regime, tmp_path / "no" / "report.html", comparison=codiacs_analysis.comparison)
    with pytest.raises(DecisionError, match="Regime"):
        report(codiacs_analysis.posterior, tmp_path / "report.html")
    assert list(tmp_path.iterdir()) == []


def test_report_is_deterministic_but_for_the_date(codiacs_analysis, documents):
    material = Material.of(codiacs_analysis.regime, codiacs_analysis.comparison)
    assert render(material, command="bayesdtr run x", today=TODAY) == documents["codiacs"]
    other = render(material, command="bayesdtr run x", today=TODAY + datetime.timedelta(days=1))
    assert other.replace("2026-03-02", "2026-03-01") == documents["codiacs"]


def test_prior_starts_best_is_shown(codiacs_analysis, tmp_path):
    path = report(codiacs_analysis.regime, tmp_path / "r.html", comparison=codiacs_analysis.comparison,
                  prior_starts_best={"medication": 0.25, "therapy": 0.75})
    assert "0.750" in words(path.read_text(encoding="utf-8")).split("4. Priors")[1].split("5. Data")[0]


def test_a_shift_of_missing_outcomes_is_said_and_can_be_run_again():
    study = dtr.Study(dtr.Decision("arm", ["a", "Shift(b)"]), dtr.Response("y", dtr.Normal(), model=dtr.Saturated()), utility="y")
    patients = pd.DataFrame({"arm": ["a", "Shift(b)"] * 20, "y": [0.1 * i if i % 5 else None for i in range(40)]})
    posterior = dtr.fit(study, patients, seed=1, engine="exact", draws=400)
    shift = dtr.Shift("y", by="arm", prior={"a": dtr.Prior("Normal", loc=0, scale=0.1234567), "Shift(b)": -1})
    moved = dtr.missing_shift(posterior, shift, seed=7)
    regime = dtr.optimize(moved)
    text = words(render(Material.of(regime, dtr.compare(moved))))
    assert "Not at random: the linear predictor of 'y' where it is missing, by 'arm': + a: Normal(0, 0.123457); Shift(b): -1." in text
    assert "differ from recorded ones by a chosen amount" in text and "can be foreseen" not in text
    (line,) = re.findall(r"posterior = dtr\.missing_shift\(.*\)", text)
    again: dict = {"dtr": dtr, "Prior": dtr.Prior, "Shift": dtr.Shift, "posterior": posterior}
    assert "from bayesdtr import Prior, Shift" in text
    exec(line, again)
    assert again["posterior"].tree["missing_shift"].identical(moved.tree["missing_shift"])


def test_how_far_recommendations_extrapolate(codiacs_analysis, adhd_analysis, documents):
    """Counts always; widths where they were worked out, "not provided" with the reason where not; nothing when withheld."""
    said = words(documents["codiacs"])
    found = codiacs_analysis.regime.extrapolation(width=False)
    second = found.rows[1]
    assert "How far recommendations extrapolate" in said and f"at second, for {second.extrapolating:.0%} of 108" in said
    assert "Width not provided: The prior was not sampled" in " ".join(said.split())
    given = dataclasses.replace(found, rows=tuple(dataclasses.replace(r, width=(0.11, 0.22, 0.33), largest_weight=float("inf")) for r in found.rows),
                                no_width="")
    again = words(render(Material.of(codiacs_analysis.regime, codiacs_analysis.comparison, None, given)))
    assert "0.11 / 0.22 / 0.33" in again and "nobody received it" in again and "1 where the data said nothing" in " ".join(again.split())
    entry = summary(codiacs_analysis.regime, codiacs_analysis.comparison, extrapolation=given)["extrapolation"]
    assert [d["width"] for d in entry["decisions"]] == [[0.11, 0.22, 0.33]] * 2 and entry["no_width"] is None
    assert [(d["decision"], d["patients"], d["fewest"], d["largest_weight"]) for d in entry["decisions"]] == [
        ("first", 108, 52, None), ("second", 108, 2, None)]
    failed = failing(codiacs_analysis.regime)
    assert summary(failed, codiacs_analysis.comparison)["extrapolation"] is None
    assert "How far recommendations" not in words(render(Material.of(failed, codiacs_analysis.comparison)))
    with pytest.raises(DecisionError, match="extrapolation must be"):
        Material.of(codiacs_analysis.regime, codiacs_analysis.comparison, None, 0.5)
    assert "at second, for" in words(documents["adhd"])

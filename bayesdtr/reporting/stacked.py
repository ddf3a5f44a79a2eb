"""What a report says more where its posterior mixes several models."""

from collections.abc import Mapping, Sequence
from typing import Any

from ..inference import Posterior, StackedModel, StackedPosterior
from ..schema import MISSING_SHIFT
from ..study.study import Study
from .blocks import Block, Heading, Paragraph, table

TERM = "stacked (several models mixed)"
"""How a report names the engine of a stacked posterior."""


def sources(posterior: Posterior) -> list[tuple[str, Study]]:
    """Declarations behind a posterior: its own without a name, or each model's under its name."""
    return [(m.name, m.study) for m in posterior.models] if isinstance(posterior, StackedPosterior) else [("", posterior.study)]


def draws_of(engine: str, shape: Sequence[int]) -> str:
    """Number of draws in words."""
    if engine in ("exact", "laplace"):
        return f"{shape[0] * shape[1]} {'independent' if engine == 'exact' else 'resampled'} draws"
    return f"{shape[0]} chains of {shape[1]} draws"


def sampler_of(engine: str) -> str:
    """How draws were made, in words."""
    if engine == "exact":
        return "independent draws from the exact posterior of conjugate cells"
    if engine == "laplace":
        return ("Laplace approximation mixed over the hierarchical parameters, draws weighed against the model compiled from PyMC; "
                'NOT a final analysis, which needs engine "nuts" or "exact"')
    return "No-U-Turn sampler (NumPyro) on the model compiled from PyMC"


def computed(posterior: Posterior) -> list[str]:
    """A sentence on the sampler; for a mixture one per model, and one on what was mixed."""
    if not isinstance(posterior, StackedPosterior):
        return [f"Sampler: {sampler_of(posterior.engine)}; {draws_of(posterior.engine, posterior.shape)}."]
    found = [f"Sampler of {m.name}: {sampler_of(m.engine)}; {draws_of(m.engine, m.shape)}; seed {m.seed}." for m in posterior.models]
    return [*found, f"Mixed: {draws_of(TERM, posterior.shape)}, each of which takes every response from one of the models, in proportion to the "
                    "weights. The table shows the worst of the models that have weight."]


def weights_of(posterior: Posterior) -> list[Block]:
    """The table of stacking weights; nothing for a single model."""
    if not isinstance(posterior, StackedPosterior):
        return []
    rows = [(r, *(f"{w:.3f}" for w in weights)) for r, weights in posterior.weights.items()]
    return [
        Heading("Stacking weights"),
        table(("Response", *(m.name for m in posterior.models)), rows, numeric=range(1, 1 + len(posterior.models))),
        Paragraph("This analysis mixes several models. For each response they are weighted so that the mixture predicts patients left out of the fit "
                  "as well as possible (stacking of leave-one-patient-out predictive densities). Weights are not probabilities that a model is "
                  "true. Values, probabilities and recommendations below average over draws and models.", "note"),
    ]


def rerun_lines(posterior: Posterior) -> list[str]:
    """Python lines that make the posterior again from `study` and `patients`."""
    if shift := shift_of(posterior):
        moved = f"posterior = dtr.missing_shift(posterior, {shift['declared']}, seed={shift['seed']})"
        return ["from bayesdtr import Prior, Shift", *_fit_lines(posterior), moved]
    return _fit_lines(posterior)


def shift_of(posterior: Posterior) -> Mapping[str, Any]:
    """What is assumed of a response that is not missing at random: its name, the assumption in words and as declared; empty where nothing is."""
    return posterior.tree[MISSING_SHIFT].attrs if MISSING_SHIFT in posterior.tree.children else {}


def _fit_lines(posterior: Posterior) -> list[str]:
    if not isinstance(posterior, StackedPosterior):
        return [f"posterior = dtr.fit(study, patients, {_arguments(posterior)})"]
    names = [f"posterior_{k}" for k in range(1, 1 + len(posterior.models))]
    pairs = zip(names, posterior.models, strict=True)
    lines = [f"{n} = dtr.fit(study_{k}, patients, {_arguments(m)})  # {m.name}" for k, (n, m) in enumerate(pairs, 1)]
    labels = ", ".join(repr(m.name) for m in posterior.models)
    return [*lines, f"posterior = dtr.compare_models([{', '.join(names)}], names=[{labels}]).stacked"]


def _arguments(made: Posterior | StackedModel) -> str:
    chains, draws = made.shape
    many = {
        "exact": f'engine="exact", draws={chains * draws}, chains={chains}', "laplace": f'engine="laplace", draws={draws}, chains={chains}',
    }.get(made.engine, f"draws={draws}, chains={chains}")
    return f"seed={made.seed}, {many}"


def sampled(posterior: Posterior) -> bool:
    """Whether any of the draws come from a sampler with a warm-up."""
    engines = [m.engine for m in posterior.models] if isinstance(posterior, StackedPosterior) else [posterior.engine]
    return any(e not in ("exact", "laplace") for e in engines)


def summary_of_stack(posterior: Posterior) -> dict[str, Any] | None:
    """Models and weights for `summary.json`; None for a single model."""
    if not isinstance(posterior, StackedPosterior):
        return None
    from .material import study_hash

    models = [
        {"name": m.name, "study_hash": study_hash(m.study), "description": str(m.study), "engine": m.engine, "seed": m.seed,
         "draws": m.shape[0] * m.shape[1], "status": m.verdict.status} for m in posterior.models
    ]
    return {"models": models, "weights": {r: dict(zip((m.name for m in posterior.models), w, strict=True)) for r, w in posterior.weights.items()}}

"""Many data sets of responses that share parameters: NUTS on their joint density, one data set after the other in one compiled program."""

import jax
import jax.numpy as jnp
import numpy as np

from bayesdtr.inference import nuts
from bayesdtr.model import joint_input, joint_of, make_inputs
from bayesdtr.model.compile import given_effect
from bayesdtr.model.linked import HIDDEN
from bayesdtr.runtime import double_precision


class _Visible:
    """A compiled response with the inputs that are data only."""

    def __init__(self, compiled):
        self.history, self.extras = compiled.history, compiled.extras
        self.inputs = tuple(n for n in compiled.inputs if n not in HIDDEN)


def fit_shared(simulated, *, seed, draws, warmup, depth=8):
    """Posterior draws of the responses that share something, ``{response: {parameter: [dataset, draw, ...]}}``, and divergences per data set."""
    study = simulated.study
    joint = joint_of(tuple(given_effect(study, n, simulated.clusters) for n in study.shared))
    inputs, y = {}, np.stack([simulated.columns[n] for n in study.shared], axis=1)
    for member in joint.members:
        visible = _Visible(member)
        made = make_inputs(visible, simulated.history(member.name), simulated.cluster, dict(study.scales), simulated.extras(visible))
        inputs |= {joint_input(member.name, n): v for n, v in made.items()}
    size = len(y)
    inputs = {n: np.broadcast_to(v, (size,)) if v.ndim == 0 else v for n, v in inputs.items()}
    lay_out, start, advance = nuts.programs(joint, warmup, depth=depth)

    def one(each):
        number, data = each
        data = (*data, jnp.ones_like(data[1]))
        made = lay_out(data)
        state = jax.lax.fori_loop(0, warmup, lambda _, s: advance(s, data, made, 1)[0], start(seed, number, data, made))
        _, (values, stats) = advance(state, data, made, draws)
        return values, jnp.sum(stats["diverging"]), jnp.mean(stats["n_steps"])

    with double_precision():
        program = jax.jit(lambda ids, inputs, y: jax.lax.map(one, (ids, (inputs, y))))
        values, divergences, steps = jax.tree.map(np.asarray, program(np.arange(size), inputs, y))
    found = {m.name: {} for m in joint.members}
    for name, v in values.items():
        response, parameter = name.split("::", 1)
        found[response][parameter] = v
    return found, {"divergences": divergences, "steps": steps}

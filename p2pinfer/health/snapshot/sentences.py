"""Headlines of page and terminal: what a model, or the whole swarm, can do. Pure, and defined for any input.

While the swarm can't be read, they are in the past tense: the state is of an earlier time.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from p2pinfer.health.snapshot import words
from p2pinfer.health.snapshot.state import Activity, Answer, ModelView, Stretch


def headline(model: ModelView, *, is_fresh: bool = True) -> str:
    """Whether the model can generate text, for readers who don't know layers.

    Without `is_fresh` the swarm can't be read now, and the sentence is in the past tense.
    """
    name = words.model_name(model)
    if is_in_doubt(model):
        return f"{name}: {_in_sample(model, is_fresh)}"
    match model.answer, is_fresh:
        case Answer.YES, True:
            return f"{name} can generate text now"
        case Answer.YES, False:
            return f"{name} could generate text when last seen"
        case Answer.THIN, True:
            return f"{name} is thin: {_depends(model, 'depends', 'depend')}"
        case Answer.THIN, _:
            return f"{name} was thin when last seen: {_depends(model, 'depended', 'depended')}"
        case _, True:
            return f"{name} cannot generate: {_why_not(model, 'serves', 'is', 'holds')}"
        case _:
            return f"{name} could not generate when last seen: {_why_not(model, 'served', 'was', 'held')}"


def explanation(model: ModelView, *, is_fresh: bool = True) -> str:
    """One sentence behind the headline."""
    if not is_fresh:
        return "The swarm can't be read at the moment, so this may have changed."
    if is_in_doubt(model):
        return "Only a sample of its servers was read. Others may hold the same layers."
    match model.answer:
        case Answer.YES:
            return "Every layer is served more than once: the model survives the loss of any one server."
        case Answer.THIN if any(stretch.replicas == 1 for stretch in model.coverage):
            return "It generates text now. It stops when the only server of a layer leaves."
        case Answer.THIN:
            return (
                "It generates text now. Every layer is served more than once, but a text stays within one "
                "numerics class, and the only class that holds all layers depends on one server."
            )
        case Answer.NO if not model.missing:
            return "A text stays within one numerics class, so that every server computes the same bytes."
        case Answer.NO:
            return "A text needs every layer. The model works again when servers hold the missing layers."


def is_in_doubt(model: ModelView) -> bool:
    """True if only a sample was read, and it isn't enough to say that the model works."""
    return model.population.is_sample and model.answer is not Answer.YES


def shown_answer(model: ModelView) -> Answer:
    """The answer whose colour the model has: what is in doubt is no alarm."""
    return Answer.THIN if is_in_doubt(model) else model.answer


def sample_note(model: ModelView, *, is_fresh: bool = True) -> str:
    """Which servers the figures are of, where they aren't all; else empty."""
    population = model.population
    if not population.is_sample:
        return ""
    are = "are" if is_fresh else "were"
    likely = f"; {words.likely(population)} is likely" if words.likely(population) else ""
    return (
        f"{words.about(population).capitalize()} servers {are} announced{likely}. "
        f"Coverage and rates {are} those of a sample: "
        f"{words.several(population.sampled, 'server')} that answered. The list has the "
        f"{words.count(len(model.servers))} of them that were drawn from everywhere."
    )


def summary(models: Sequence[ModelView], *, is_fresh: bool) -> str:
    """The whole swarm in one line, in the words of the models' headlines."""
    if not models:
        return "No model is served yet" if is_fresh else "The swarm can't be read"
    working = [model for model in models if model.answer is not Answer.NO]
    thin = [model for model in working if model.answer is Answer.THIN]
    if len(models) == 1:
        if is_in_doubt(models[0]):
            return f"The model is in doubt: {_in_sample(models[0], is_fresh)}"
        return f"The model {_only_model(models[0].answer, is_fresh)}"
    which = (
        f"{len(working) or 'None'} of {len(models)}" if len(working) < len(models) else f"All {len(models)}"
    )
    can, when = ("can", "now") if is_fresh else ("could", "when last seen")
    line = f"{which} models {can} generate text {when}"
    if any(map(is_in_doubt, models)):
        line += ", as far as samples tell"
    if not thin:
        return line
    is_thin = f"{'is' if len(thin) == 1 else 'are'}" if is_fresh else f"{'was' if len(thin) == 1 else 'were'}"
    if len(thin) < len(working):
        return f"{line}, {len(thin)} of them {is_thin} thin"
    return f"{line}, but {'it' if len(thin) == 1 else 'they'} {is_thin} thin"


def _only_model(answer: Answer, is_fresh: bool) -> str:
    """What a swarm's only model can do."""
    match answer, is_fresh:
        case Answer.YES, True:
            return "can generate text now"
        case Answer.THIN, True:
            return "can generate text now, but is thin"
        case Answer.YES, _:
            return "could generate text when last seen"
        case Answer.THIN, _:
            return "could generate text when last seen, but was thin"
        case _, True:
            return "cannot generate text now"
        case _:
            return "could not generate text when last seen"


def _in_sample(model: ModelView, is_fresh: bool) -> str:
    """What a sample lacks."""
    if model.answer is Answer.THIN:
        lack = _depends(model, "depends", "depend") if is_fresh else _depends(model, "depended", "depended")
    elif is_fresh:
        lack = _why_not(model, "serves", "is", "holds")
    else:
        lack = _why_not(model, "served", "was", "held")
    return f"in a sample of its servers {lack}"


def _depends(model: ModelView, singular: str, plural: str) -> str:
    """Which layers depend on one server. The two words are the verb's forms."""
    thin = _merged(stretch for stretch in model.coverage if stretch.replicas == 1)
    if not thin:
        return f"it {singular} on one server"
    layers = words.layer_ranges(thin)
    holders = {
        server.peer_id
        for server in model.servers
        if server.state is Activity.SERVING
        and any(server.start < end and start < server.end for start, end in thin)
    }
    verb = singular if layers.startswith("layer ") else plural
    return f"{layers} {verb} on one server" if len(holders) <= 1 else f"{layers} {verb} on one server each"


def _why_not(model: ModelView, serves: str, is_: str, holds: str) -> str:
    """Why it can't generate. The three verbs are in the headline's tense."""
    missing = [(start, end) for start, end in model.missing if end > start]
    if not missing:
        return f"every layer {is_} served, but no numerics class {holds} all of them"
    if any(start <= 0 and end >= model.num_layers for start, end in missing):
        return f"nobody {serves} any of its layers"
    return f"nobody {serves} {words.layer_ranges(missing)}"


def _merged(stretches: Iterable[Stretch]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for stretch in stretches:
        if merged and merged[-1][1] == stretch.start:
            merged[-1] = (merged[-1][0], stretch.end)
        else:
            merged.append((stretch.start, stretch.end))
    return merged

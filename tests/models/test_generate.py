"""What is written does not depend on a cache, on other examples or on who has stopped; draws follow the odds."""

import math

import pytest
import torch

from archaeology.models.decoder import Decoder
from archaeology.models.generate import Greedy, Sampling, chances, evaluating, generate

STRATEGIES = {
    "greedy": Greedy(),
    "all": Sampling(),
    "hot": Sampling(temperature=1.7),
    "top-k": Sampling(temperature=0.7, top_k=5),
    "top-p": Sampling(top_p=0.8),
    "both": Sampling(top_k=9, top_p=0.6),
}
every_strategy = pytest.mark.parametrize("strategy", STRATEGIES.values(), ids=STRATEGIES)
KINDS = {
    "plain": {},
    "grouped": {"num_key_heads": 1},
    "windowed": {"window": 4},
    "learnable": {"positions": "learnable", "max_length": 60},
    "latent": {"attention": "latent"},
    "experts": {"experts": {"num_experts": 5, "capacity_factor": 0.5}},
}


def small(**changes):
    torch.manual_seed(0)
    options = {"num_tokens": 31, "embed_dim": 24, "depth": 2, "num_heads": 3, "hidden_dim": 17, **changes}
    model = Decoder(**options).double()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@every_strategy
@pytest.mark.parametrize("changes", KINDS.values(), ids=KINDS)
def test_cached_and_uncached_write_the_same(strategy, changes):
    model, prompt = small(**changes), torch.randint(31, (3, 5))
    cached = generate(model, prompt, 17, strategy=strategy, generator=seeded())
    plain = generate(model, prompt, 17, strategy=strategy, generator=seeded(), is_cached=False)
    assert torch.equal(cached, plain)
    assert cached.shape == (3, 22) and torch.equal(cached[:, :5], prompt)
    if strategy.is_random:
        assert not torch.equal(cached, generate(model, prompt, 17, strategy=strategy, generator=seeded(1)))


@every_strategy
def test_later_examples_and_stopping_change_no_example(strategy):
    model, prompt = small(), torch.randint(31, (4, 5))
    together = generate(model, prompt, 11, strategy=strategy, generator=seeded())
    for count in (1, 2, 3):
        few = generate(model, prompt[:count], 11, strategy=strategy, generator=seeded())
        assert torch.equal(few, together[:count])
    if isinstance(strategy, Greedy):
        for index in range(4):
            alone = generate(model, prompt[index : index + 1], 11)
            assert torch.equal(alone[0], together[index])
    stop = int(together[1, 8])
    stopped = generate(model, prompt, 11, strategy=strategy, generator=seeded(), stop_token=stop)
    for index in range(4):
        written = together[index, 5:].tolist()
        ends = written.index(stop) + 1 if stop in written else 11
        assert stopped[index, 5:].tolist() == written[:ends] + [stop] * (11 - ends)


def test_when_all_have_stopped_nothing_more_is_computed(monkeypatch):
    model, prompt = small(), torch.randint(31, (1, 5))
    first = int(generate(model, prompt, 1)[0, -1])
    calls = []
    states = model.states
    monkeypatch.setattr(model, "states", lambda *given, **named: calls.append(1) or states(*given, **named))
    assert generate(model, prompt, 9, stop_token=first)[0, 5:].tolist() == [first] * 9
    assert len(calls) == 1


def test_nothing_to_write_and_nobody_to_write_for():
    model, prompt = small(), torch.randint(31, (2, 5))
    assert torch.equal(generate(model, prompt, 0), prompt)
    assert generate(model, prompt[:0], 3).shape == (0, 8)


def looped_probabilities(logits, temperature, top_k, top_p):
    weights = [math.exp(float(value) / temperature) for value in logits]
    order = sorted(range(len(weights)), key=lambda index: -weights[index])[:top_k]
    total = sum(weights[index] for index in order)
    kept, held = [], 0.0
    for index in order:
        if held >= top_p:
            break
        kept.append(index)
        held += weights[index] / total
    total = sum(weights[index] for index in kept)
    return [weights[index] / total if index in kept else 0.0 for index in range(len(weights))]


@pytest.mark.parametrize(
    ("temperature", "top_k", "top_p"), [(1.0, 7, 1.0), (0.6, 4, 1.0), (2.0, 7, 0.5), (1.3, 5, 0.7)]
)
def test_probabilities_are_what_the_papers_say(temperature, top_k, top_p):
    logits = torch.randn(3, 7, generator=seeded(), dtype=torch.float64) * 2
    ours = Sampling(temperature, top_k, top_p).probabilities(logits)
    for row, given in zip(ours, logits, strict=True):
        expected = torch.tensor(looped_probabilities(given, temperature, top_k, top_p), dtype=torch.float64)
        torch.testing.assert_close(row, expected)


def test_draws_follow_the_probabilities():
    logits = torch.randn(1, 7, generator=seeded()).expand(70_000, 7)
    strategy = Sampling(temperature=1.3, top_k=5)
    chance = (torch.arange(70_000, dtype=torch.float64) + 0.5) / 70_000
    counts = strategy.choose(logits, chance).bincount(minlength=7) / 70_000
    torch.testing.assert_close(counts.double(), strategy.probabilities(logits[:1])[0], atol=1e-4, rtol=0)


def test_the_ends_of_chance_choose_tokens_that_are_kept():
    logits = torch.tensor([[0.0, 3.0, 2.0, 1.0]] * 2)
    chosen = Sampling(top_k=2).choose(logits, torch.tensor([0.0, 1.0 - 2**-53], dtype=torch.float64))
    assert chosen.tolist() == [1, 2]
    sharp = Sampling(temperature=1e-4).choose(logits, torch.tensor([0.3, 0.9], dtype=torch.float64))
    assert sharp.tolist() == Greedy().choose(logits, torch.zeros(2, dtype=torch.float64)).tolist() == [1, 1]


@torch.no_grad()
def test_hugging_face_leaves_the_same_tokens():
    transformers = pytest.importorskip("transformers")
    logits = torch.randn(5, 31, generator=seeded(), dtype=torch.float64) * 2
    scores = transformers.TopKLogitsWarper(9)(None, logits / 0.8)
    scores = transformers.TopPLogitsWarper(0.7)(None, scores)
    torch.testing.assert_close(Sampling(0.8, 9, 0.7).probabilities(logits), scores.softmax(-1))


def test_the_model_is_left_as_it_was():
    model = small().train()
    model.blocks[0].eval()
    before = [module.training for module in model.modules()]
    state = torch.random.get_rng_state()
    generate(model, torch.zeros(1, 3, dtype=torch.long), 2, strategy=Sampling(), generator=seeded())
    with pytest.raises(RuntimeError, match="on purpose"), evaluating(model):
        assert not any(module.training for module in model.modules())
        raise RuntimeError("on purpose")
    assert [module.training for module in model.modules()] == before
    assert torch.equal(state, torch.random.get_rng_state())
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_random_numbers_of_an_example_come_in_one_stretch():
    many = torch.stack(list(chances(Sampling(), 3, 5, seeded(), torch.device("cpu"))), dim=1)
    few = torch.stack(list(chances(Sampling(), 2, 5, seeded(), torch.device("cpu"))), dim=1)
    assert torch.equal(many[:2], few) and many.shape == (3, 5)


def test_what_cannot_be_is_refused():
    model, prompt = small(**KINDS["learnable"]), torch.zeros(1, 3, dtype=torch.long)
    with pytest.raises(ValueError, match=r"draws at random: give generator=torch.Generator\(\)"):
        generate(model, prompt, 2, strategy=Sampling())
    with pytest.raises(ValueError, match="num_tokens must be 0 or more, but got -1"):
        generate(model, prompt, -1)
    with pytest.raises(ValueError, match="prompt must have at least one token for every example"):
        generate(model, prompt[:, :0], 2)
    with pytest.raises(ValueError, match="prompt must hold tokens from 0 to 30, but got 0 to 31"):
        generate(model, torch.tensor([[0, 31]]), 2)
    with pytest.raises(ValueError, match="stop_token must be from 0 to 30, but got 31"):
        generate(model, prompt, 2, stop_token=31)
    with pytest.raises(ValueError, match="learnable positions end at max_length=60, but got 61 tokens"):
        generate(model, prompt, 58)
    with pytest.raises(
        ValueError, match=r"temperature must be above 0, but got 0\.0; Greedy\(\) is its limit"
    ):
        Sampling(temperature=0.0)
    with pytest.raises(ValueError, match="top_k must be 1 or more tokens, but got 0"):
        Sampling(top_k=0)
    with pytest.raises(ValueError, match=r"top_p must be a share above 0 and at most 1, but got 1\.5"):
        Sampling(top_p=1.5)

"""The widget of lesson 04: its curve is the loss, its parabola the library's curvature, and the network stays as it is."""

from __future__ import annotations

import base64
from statistics import median
from time import perf_counter

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from course_lib.errors import CourseError
from course_lib.pruning.obd import diagonal_hessian, saliency
from course_lib.widgets.frame import Question
from course_lib.widgets.optimal_brain_damage import GONE, MOVES, TRAINED, weight_on_its_curve


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 6), nn.Tanh(), nn.Linear(6, 3))


def examples(n: int = 80) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.rand(n, 1, 4, 4, generator=generator), torch.randint(3, (n,), generator=generator)


def widget(model: nn.Module | None = None, **options):
    model = model or network()
    x, y = examples()
    return weight_on_its_curve(model, x, y, diagonal_hessian(model, x, y), **options)


@pytest.mark.parametrize("number", [1, 40, 114])
@pytest.mark.parametrize("place", [0, TRAINED, 12, GONE, len(MOVES) - 1])
def test_curve_and_parabola_are_those_of_the_network(number: int, place: int) -> None:
    shown, model, (x, y) = widget(), network(), examples()
    shown.set(weight=number, place=place)
    flat = torch.cat([model[1].weight.detach().flatten(), model[3].weight.detach().flatten()])
    index = int(flat.abs().argsort(stable=True)[number - 1])
    weight, k = (model[1].weight, index) if index < 96 else (model[3].weight, index - 96)
    h = diagonal_hessian(model, x, y)["1.weight" if index < 96 else "3.weight"].flatten()[k].item()
    w = weight.flatten()[k].item()
    with torch.no_grad():
        base = F.cross_entropy(model(x), y).item()
        weight.view(-1)[k] = w * (1 - MOVES[place])
        moved = F.cross_entropy(model(x), y).item()
    pack = shown.picture.pack
    assert shown.picture.step == place
    assert pack["losses"][place] == pytest.approx(moved, rel=1e-5)
    assert pack["parabola"][place] == pytest.approx(base + h * (w * MOVES[place]) ** 2 / 2, rel=1e-5)
    assert pack["losses"][TRAINED] == pack["parabola"][TRAINED] == pytest.approx(base, rel=1e-6)
    assert f"<b>{moved - base:+.4f}"[:-1] in shown.formula.value


def test_ranks_are_those_of_magnitude_and_saliency() -> None:
    shown, model, (x, y) = widget(), network(), examples()
    size = torch.cat([model[1].weight.flatten(), model[3].weight.flatten()]).abs()
    cost = torch.cat([s.flatten() for s in saliency(model, x, y).values()])
    for number in (1, 57, 114):
        shown.weight.value = number
        index = int(size.argsort()[number - 1])
        assert shown.picture.pack["size"] == number == int((size < size[index]).sum()) + 1
        assert shown.picture.pack["cost"] == int((cost < cost[index]).sum()) + 1
    for one, other in shown.picture.pack["pairs"]:
        index = int(size.argsort()[one - 1])
        assert other == int((cost < cost[index]).sum()) + 1


def test_presets_show_what_they_say() -> None:
    shown = widget()
    for name, button in shown.buttons.items():
        button.click()
        pack = shown.picture.pack
        assert shown.picture.step == TRAINED
        apart = pack["cost"] - pack["size"]
        assert {"Small but dear": apart > 0, "Large but cheap": apart < 0, "The dearest": pack["cost"] == 114}.get(
            name, True
        )


def test_dragging_in_the_browser_moves_the_place() -> None:
    shown = widget()
    shown.picture.set_state({"step": GONE})  # what a message from the browser does
    assert shown.place.value == GONE
    assert "moved 100 % of the way to 0" in shown.formula.value
    shown.place.value = 10_000
    assert shown.place.value == len(MOVES) - 1


def test_the_learners_network_is_left_alone() -> None:
    model = network().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    shown = widget(model)
    for number in (1, 50, 114):
        shown.set(weight=number, place=GONE)
    assert model.training
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    again = shown.picture.pack["losses"]
    shown.weight.value = 2
    shown.weight.value = 114
    assert shown.picture.pack["losses"] == again


def test_squared_error() -> None:
    model, (x, y) = network(), examples()
    wanted = F.one_hot(y, 3).float()
    shown = weight_on_its_curve(
        model, x, wanted, diagonal_hessian(model, x, wanted, loss="squared_error"), loss="squared_error"
    )
    with torch.no_grad():
        assert shown.picture.pack["losses"][TRAINED] == pytest.approx(((model(x) - wanted) ** 2).sum(1).mean().item())


def test_it_is_small_quick_and_says_what_it_shows() -> None:
    shown, times = widget(), []
    for number in range(1, 60):
        start = perf_counter()
        shown.weight.value = number
        times.append(perf_counter() - start)
    assert median(times) < 0.1
    bundle = shown._repr_mimebundle_()
    png = base64.b64decode(bundle["image/png"])
    assert png.startswith(b"\x89PNG") and len(png) <= 40_000
    assert "predicted" in bundle["text/plain"] and "cheapest first" in bundle["text/plain"]


def test_a_question_hides_the_widget_until_it_is_settled() -> None:
    shown = widget(question=Question("Is it dear?", answer=0.5))
    assert shown.body.layout.display == "none"
    shown.bet.commit()
    assert shown.body.layout.display is None


def test_bad_input_is_explained() -> None:
    model, (x, y) = network(), examples()
    h = diagonal_hessian(model, x, y)
    with pytest.raises(CourseError, match=r"for '1.weight', \(6, 16\), it holds NoneType"):
        weight_on_its_curve(model, x, y, {})
    with pytest.raises(CourseError, match=r"it holds shape \(16, 6\)"):
        weight_on_its_curve(model, x, y, h | {"1.weight": h["1.weight"].T})
    with pytest.raises(CourseError, match="finite"):
        weight_on_its_curve(model, x, y, h | {"3.weight": h["3.weight"] * float("nan")})
    with pytest.raises(CourseError, match="int64 labels"):
        weight_on_its_curve(model, x, y.float(), h)
    with pytest.raises(CourseError, match="'cross_entropy' or 'squared_error'"):
        weight_on_its_curve(model, x, y, h, loss="hinge")
    with pytest.raises(CourseError, match="nothing to prune"):
        weight_on_its_curve(nn.Sequential(nn.Flatten()), x, y, {})

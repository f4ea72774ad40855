# %% [markdown]
# # 15 · Efficient architectures: small by design
#
# *Lessons 02 to 12 began with a large network. These networks are born small: their blocks do with a fraction of the
# multiplications what a standard convolution does. Whether the clock agrees is another matter.*
#
# **35 minutes.** You need: lesson 01 (parameters, MACs, latency); lesson 07 helps.
#
# At the end you can
# - build a depthwise separable convolution, a Fire module and an inverted residual, and say what each one saves;
# - scale a network in depth, width and resolution together, and predict what that costs;
# - tell a saving in parameters from one in MACs, and both from one in milliseconds.

# %% tags=["setup"]
from course_lib.lesson import begin

begin(lesson=15)

# %% [markdown]
# The digits in five folds; trial *k* is tested on fold *k*.

# %% tags=["setup"]
from course_lib.data import load
from course_lib.evidence import paired_difference, summarise

TRIALS, STEPS = 5, 150
folds = [load("digits", fold=fold) for fold in range(TRIALS)]
print(folds[0])

# %% [markdown]
# ## 1 · Predict

# %%
from course_lib.checking import predict

bet_points = predict(
    "points", unit="points",
    question="Separable convolutions take a sixth of the MACs. What do they lose on the digits?",
)
bet_points

# %%
bet_time = predict(
    "time", unit="% of the time",
    question="A depthwise convolution does 0.8 % of a standard one's MACs. Its share of the time?",
)
bet_time

# %% [markdown]
# ## 2 · The idea
#
# A standard convolution does two jobs at once: it *filters* (looks at neighbouring pixels) and it *mixes* (looks at all
# channels). So each of $N$ outputs has a $k \times k$ kernel for each of $M$ inputs:
# $k^2 \cdot M \cdot N$ MACs a position.
#
# Do the jobs one after the other, and it gets cheap. **Depthwise**: each channel is filtered by one kernel of its own.
# **Pointwise**: 1×1 kernels mix the channels. François Chollet built Xception of such *separable* convolutions, and in 2017
# Andrew Howard and others at Google used them in MobileNet, for phones:
#
# $$\frac{\overbrace{k^2 \cdot M}^{\text{filter}} + \overbrace{M \cdot N}^{\text{mix}}}{k^2 \cdot M \cdot N} \;=\; \frac{1}{N} + \frac{1}{k^2}$$
#
# Here are all the weights of a layer from 8 channels to 8, one row of kernels for each output:

# %%
import torch
from torch import nn

from course_lib import viz

full, centre = torch.ones(8, 8, 3, 3), torch.zeros(3, 3)
centre[1, 1] = 1
own = full * torch.eye(8)[:, :, None, None]
apart = lambda kernels: nn.functional.pad(kernels, (0, 1, 0, 1))  # a white line between kernels
flat = lambda kernels: apart(kernels).permute(0, 2, 1, 3).reshape(32, 32)  # outputs down, inputs across
viz.images(
    {"standard": flat(full), "depthwise: filter": flat(own), "1×1: mix": flat(full * centre)},
    caption="Ink is weights. The two to the right together replace the one to the left.",
    alt="Tables of 8 by 8 kernels: all full; only the diagonal; only each kernel's middle pixel.",
)

# %% [markdown]
# ## 3 · Build it
#
# **Depthwise.** One small convolution for each channel. PyTorch calls it `groups`: as many groups as channels.

# %%
from torch.nn import functional as F

x, kernels = torch.randn(2, 8, 10, 10), torch.randn(8, 3, 3)
one_by_one = [F.conv2d(x[:, c : c + 1], kernels[None, c : c + 1], padding=1) for c in range(8)]
grouped = F.conv2d(x, kernels[:, None], padding=1, groups=8)  # weight: (8, 1, 3, 3)
assert torch.allclose(torch.cat(one_by_one, dim=1), grouped, atol=1e-5)
print("eight convolutions of one channel = one convolution with groups=8")

# %% [markdown]
# **Separable**, as in MobileNet: both steps get a batch norm and a ReLU. (Xception has nothing between its two steps.)


# %%
def my_separable(inputs, outputs, stride=1):
    return nn.Sequential(
        nn.Conv2d(inputs, inputs, 3, stride, padding=1, groups=inputs, bias=False),  # filter
        nn.BatchNorm2d(inputs), nn.ReLU(),
        nn.Conv2d(inputs, outputs, 1, bias=False),  # mix
        nn.BatchNorm2d(outputs), nn.ReLU(),
    )


# %%
from course_lib.models import separable_conv

mine, library = my_separable(8, 16, stride=2), separable_conv(8, 16, stride=2)
library.load_state_dict(mine.state_dict())
assert torch.equal(mine(x), library(x))
print(tuple(x.shape), "->", tuple(mine(x).shape))

# %% [markdown]
# **The ratio, exactly.** Not measured on a clock but counted, as fractions, for any channels and any kernel:

# %%
from fractions import Fraction

from course_lib.experiments.efficient_architectures import macs
from course_lib.models import standard_conv

exact = {}
for M, N, k in ((8, 16, 3), (64, 64, 3), (32, 256, 3), (48, 96, 5), (1, 7, 7)):
    blocks = [block(M, N, kernel=k) for block in (separable_conv, standard_conv)]
    counted = Fraction(*(macs(block, (M, 14, 14)) for block in blocks))
    exact[M, N, k] = counted == Fraction(1, N) + Fraction(1, k * k)
    print(f"{M:3} -> {N:3} channels, {k}×{k}: {str(counted):8} = 1/{N} + 1/{k * k}: {exact[M, N, k]}")

# %% [markdown]
# **Fire**, the module of SqueezeNet (Iandola and others 2016), saves *parameters*: it squeezes to few channels first, so
# that what follows has little to read, and then expands with 1×1 and 3×3 kernels side by side.


# %%
class MyFire(nn.Module):
    def __init__(self, inputs, squeeze, expand):
        super().__init__()
        self.squeeze = nn.Conv2d(inputs, squeeze, 1)
        self.expand_1x1 = nn.Conv2d(squeeze, expand, 1)
        self.expand_3x3 = nn.Conv2d(squeeze, expand, 3, padding=1)

    def forward(self, x):
        x = F.relu(self.squeeze(x))
        return F.relu(torch.cat([self.expand_1x1(x), self.expand_3x3(x)], dim=1))


# %% [markdown]
# **Inverted residual** (MobileNetV2, Sandler and others 2018): expand, filter, project. A residual block joins wide ends
# over a narrow middle; this one joins *narrow* ends over a wide middle, which only cheap depthwise kernels touch. After the
# projection comes no ReLU: in few channels it would throw too much away.


# %%
class MyInverted(nn.Module):
    def __init__(self, inputs, outputs, expansion=6, stride=1):
        super().__init__()
        middle, norm, act = expansion * inputs, nn.BatchNorm2d, nn.ReLU6
        self.body = nn.Sequential(
            nn.Conv2d(inputs, middle, 1, bias=False), norm(middle), act(),  # expand
            nn.Conv2d(middle, middle, 3, stride, 1, groups=middle, bias=False),  # filter
            norm(middle), act(),
            nn.Conv2d(middle, outputs, 1, bias=False), norm(outputs),  # project
        )
        self.shortcut = stride == 1 and inputs == outputs

    def forward(self, x):
        return x + self.body(x) if self.shortcut else self.body(x)


# %%
from course_lib.models import Fire, InvertedResidual, XceptionBlock

for mine, library in (
    (MyFire(8, 4, 12), Fire(8, 4, 12)), (MyInverted(8, 8), InvertedResidual(8, 8)),
    (MyInverted(8, 12, stride=2), InvertedResidual(8, 12, stride=2)),
):
    library.load_state_dict(mine.state_dict())
    assert torch.equal(mine(x), library(x))
count = lambda net: sum(p.numel() for p in net.parameters())
blocks = {"standard": standard_conv(64, 64), "separable": separable_conv(64, 64),
          "Fire": Fire(64, 8, 32), "inverted residual": InvertedResidual(64, 64),
          "Xception's": XceptionBlock(64, 64)}
for name, block in blocks.items():
    print(f"{name:18} {count(block):7,} parameters, {macs(block, (64, 14, 14)):10,} MACs")

# %% [markdown]
# (All from 64 channels to 64. The inverted residual filters 384 in its middle; Xception's block holds two separable
# convolutions.)
#
# **Compound scaling.** A network may grow in depth, width or image size. EfficientNet (Tan and Le 2019) grows all three
# by one number $\varphi$: depth $\alpha^\varphi$, width $\beta^\varphi$, resolution $\gamma^\varphi$. Depth costs once; width
# twice, as inputs *and* outputs grow; resolution twice, as height *and* width grow. So each step of $\varphi$ costs
# $\alpha \cdot \beta^2 \cdot \gamma^2$, chosen to be about 2. Counted on real layers, which come in whole numbers:

# %%
from course_lib.models import efficientnet, empty

alpha, beta, gamma = 1.2, 1.1, 1.15


def my_compound(phi):
    side = round(224 * gamma**phi)
    return macs(empty(efficientnet, depth=alpha**phi, width=beta**phi), (3, side, side))


cost = [my_compound(phi) for phi in range(6)]
step = alpha * beta**2 * gamma**2
grown = [round(b / a, 2) for a, b in zip(cost, cost[1:])]
print(f"each step should cost {step:.2f} ×; counted: {grown}")

# %% [markdown]
# The first step costs more, because layers are rounded *up*: two layers times 1.2 are three.
#
# ## 4 · Play
#
# Build a block around *k×k* kernels in groups. With more than one group, or an expansion, 1×1 convolutions mix before or
# behind it. The clock runs on your digits, each time anew, beside a standard convolution.
# 1. From *standard* to *separable*: how many MACs vanish, and how much time?
# 2. Which part has almost no MACs and still takes its time?
# 3. Raise the groups from 1 on. When does the clock stop following?

# %% tags=["setup", "widget"]
from course_lib.widgets.efficient_architectures import block_builder

block_builder(folds[0].validation.x)

# %% [markdown]
# ## 5 · Evidence
#
# **The published networks, counted.** MobileNet and the same network with standard convolutions; its two dials, width and
# resolution; SqueezeNet beside AlexNet; EfficientNet-B0.

# %%
import torchvision

from course_lib.models import efficientnet_b0, mobilenet, squeezenet

image = lambda side: (3, side, side)
mobile, heavy = empty(mobilenet), empty(mobilenet, block=standard_conv)
dials = {f"width {w}": macs(empty(mobilenet, width=w), image(224)) for w in (0.75, 0.5, 0.25)}
dials |= {f"resolution {r}": macs(mobile, image(r)) for r in (192, 160, 128)}
squeeze, alex, b0 = empty(squeezenet), empty(torchvision.models.alexnet), empty(efficientnet_b0)
published = {"MobileNet": mobile, "standard": heavy, "SqueezeNet": squeeze, "AlexNet": alex, "B0": b0}
for name, net in published.items():
    print(f"{name:10} {count(net) / 1e6:6.2f} M parameters, {macs(net, image(224)) / 1e6:8,.0f} M MACs")
for name, n in dials.items():
    print(f"MobileNet, {name}: {n / 1e6:.1f} M MACs")

# %% [markdown]
# **Accuracy.** ImageNet does not fit into a minute, the digits do: a convolution and two blocks of each kind, the same
# channels (for inverted residuals half of them, at the narrow ends), steps and order of examples.

# %%
from course_lib.experiments.efficient_architectures import trained, width_for
from course_lib.experiments.magnitude_pruning import test_accuracies

nets = {kind: trained(kind, folds, steps=STEPS) for kind in ("standard", "separable")}

# %%
nets["Fire"] = trained("Fire", folds, steps=STEPS)
nets["inverted residual"] = trained("inverted residual", folds, steps=STEPS, width=0.5)

# %% [markdown]
# And a rival that we come back to: a *narrower* standard network with as many MACs as the separable one.

# %%
shape = folds[0].input_shape
budget = macs(nets["separable"][0], shape)
nets["narrow standard"] = trained("standard", folds, steps=STEPS, width=width_for("standard", budget))
results = {kind: test_accuracies(networks, folds) for kind, networks in nets.items()}
spent = {kind: macs(networks[0], shape) for kind, networks in nets.items()}
for kind, accuracies in results.items():
    held = count(nets[kind][0])
    print(f"{kind:18} {spent[kind]:8,} MACs {held:7,} parameters  {summarise(accuracies):%}")

# %%
viz.trade_off(
    {kind: (spent[kind] / 1000, summarise(results[kind])) for kind in results},
    xlabel="thousands of MACs an image", ylabel="test accuracy", logx=True, percent=True,
    caption="Up and to the left is better. Bars are standard deviations over five folds.",
)

# %% [markdown]
# **The clock.** One layer of 128 channels, then MobileNet beside its standard twin. All take turns; a ratio is taken in
# every turn, and we show its median and middle half.

# %%
from course_lib.experiments.structured_pruning import ratios, side_by_side

maps = torch.rand(1, 128, 14, 14)
parts = {
    "standard": nn.Conv2d(128, 128, 3, padding=1),
    "depthwise": nn.Conv2d(128, 128, 3, padding=1, groups=128),
    "1×1": nn.Conv2d(128, 128, 1),
}
times = side_by_side({name: lambda conv=conv: conv(maps) for name, conv in parts.items()}, turns=60)
clock = {name: ratios(times[name], times["standard"]) for name in parts}
cost = {name: macs(conv, (128, 14, 14)) for name, conv in parts.items()}
work = {name: cost[name] / cost["standard"] for name in parts}
said = lambda name: "{:.1%} ({:.1%} to {:.1%})".format(*clock[name])
for name in parts:
    print(f"{name:10} {work[name]:6.1%} of the MACs, time {said(name)}")

# %%
pair = {name: net().eval() for name, net in
        {"standard": lambda: mobilenet(block=standard_conv), "MobileNet": mobilenet}.items()}
photo = torch.rand(1, 3, 160, 160)
whole = side_by_side({name: lambda net=net: net(photo) for name, net in pair.items()}, turns=7)
clock["MobileNet"] = ratios(whole["MobileNet"], whole["standard"])
work["MobileNet"] = macs(mobile, image(160)) / macs(heavy, image(160))
print(f"MobileNet  {work['MobileNet']:6.1%} of the MACs, time {said('MobileNet')}")

# %% [markdown]
# **Paper says / measured here.** The cell fails if a judged claim does not hold. Counted numbers must agree with the
# published ones within half a percent (they are printed rounded); "about 50" is 45 to 55, "about 2" within 0.1; "comes
# near" is a mean loss of at most two points. The clock is reported and not judged.

# %%
from course_lib.evidence import Claim, evidence

near = lambda ours, theirs: all(abs(a / b - 1) < 0.005 for a, b in zip(ours, theirs))
millions = lambda numbers: ", ".join(f"{n / 1e6:,.1f}" for n in numbers)
cost_of = lambda net: [count(net), macs(net, image(224))]
gap = {kind: paired_difference(results[kind], results["standard"]) for kind in results}
rival = paired_difference(results["separable"], results["narrow standard"])
fewer, share = count(alex) / count(squeeze), spent["separable"] / spent["standard"]

# %%
table = [
    Claim("separable / standard MACs", "1/N + 1/k²", "equal as fractions", all(exact.values())),
    Claim("MobileNet: parameters, MACs (M)", "4.2, 569", millions(cost_of(mobile)),
          near(cost_of(mobile)[1:], [569e6]) and round(count(mobile) / 1e6, 1) == 4.2),
    Claim("with standard convolutions", "29.3, 4,866", millions(cost_of(heavy)),
          near(cost_of(heavy), [29.3e6, 4866e6])),
    Claim("width ¾, ½, ¼; side 192, 160 (MACs, M)", "325, 149, 41; 418, 290",
          millions([*dials.values()][:5]), near(dials.values(), [325e6, 149e6, 41e6, 418e6, 290e6])),
    Claim("SqueezeNet: fewer parameters than AlexNet", "50 ×", f"{fewer:.1f} ×", 45 < fewer < 55),
    Claim("EfficientNet-B0: parameters, MACs (M)", "5.3, 390", millions(cost_of(b0)),
          round(count(b0) / 1e6, 1) == 5.3 and round(cost_of(b0)[1] / 1e9, 2) == 0.39),
    Claim("α · β² · γ² of EfficientNet", "≈ 2", f"{step:.2f}", abs(step - 2) <= 0.1),
]

# %%
imagenet = "−1.1 points at 12 % (ImageNet)"
evidence(
    *table,
    Claim(f"digits: separable comes near, at {share:.0%} of the MACs", imagenet,
          f"{gap['separable']:points}", gap["separable"].mean >= -0.02 and share <= 0.2),
    Claim("digits: Fire", "", f"{gap['Fire']:points}", None),
    Claim("digits: inverted residual", "", f"{gap['inverted residual']:points}", None),
    Claim("separable − narrow standard, equal MACs", "", f"{rival:points}", None),
    Claim(f"time, depthwise ({work['depthwise']:.1%} of the MACs)", "", said("depthwise"), None),
    Claim(f"time, MobileNet ({work['MobileNet']:.1%} of the MACs)", "", said("MobileNet"), None),
)

# %% [markdown]
# And your bets:

# %%
lost = round(-100 * gap["separable"].mean, 1)
bet_points.reveal(lost, "The mean over five folds, against the same channels.")

# %%
took = round(100 * clock["depthwise"][0], 1)
bet_time.reveal(took, "Fewer multiplications, but each is far slower. Why?")

# %% [markdown]
# ## 6 · Where it fails
#
# **The depthwise surprise.** Keep 128 channels, and cut them into more and more groups. MACs fall as 1/groups. The time for
# *each* MAC, against the standard convolution:

# %%
GROUPS = [1, 2, 4, 8, 16, 32, 128]
convs = {g: nn.Conv2d(128, 128, 3, padding=1, groups=g) for g in GROUPS}
per_group = side_by_side({g: lambda g=g: convs[g](maps) for g in GROUPS}, turns=40)
price = [ratios(per_group[g], per_group[1])[0] * g for g in GROUPS]
viz.curves(
    GROUPS, {"time per MAC, against 1 group": price}, levels={"the same": 1.0}, logx=True,
    xlabel="groups of 128 channels", ylabel="relative time per MAC",
    caption="The fewer channels a kernel reads, the more each multiplication costs.",
)

# %%
uses = {g: 9 * 128 // g for g in GROUPS}
idle = side_by_side({"relu": lambda: maps.relu(), "depthwise": lambda: convs[128](maps)}, turns=60)
print("multiplications for each number of the input:", uses)
print(f"a ReLU, without any: {ratios(idle['relu'], idle['depthwise'])[0]:.0%} of the depthwise time")

# %% [markdown]
# A standard convolution uses each number it loads over a thousand times, a depthwise one nine times. So the work around a
# multiplication (load, find one's place, store) is shared by few of them; and the matrix product, which processors and
# libraries are made for, has nothing to work on. Memory alone is not to blame here: a ReLU loads and stores as many
# numbers in a fraction of the time. MACs compare layers fairly only where each number is used about equally often.
#
# **The fair rival.** The narrow standard network had the MACs of the separable one. Look at the table: on the digits,
# splitting filter and mix gains nothing clear over plainly taking fewer channels. A comparison with the *large* network alone
# would have hidden that. Ten easy classes have channels to spare. On ImageNet they are scarce: there a MobileNet with a quarter
# fewer loses 2.2 points, while splitting cost 1.1. (`course run 15 --data mnist` trains all kinds at four widths.)
#
# **Parameters are not MACs.** SqueezeNet holds a fiftieth of AlexNet's parameters. And its MACs?

# %%
more = macs(squeeze, image(224)) / macs(alex, image(224))
print(f"SqueezeNet does {more:.2f} × the MACs of AlexNet (as torchvision builds it)")

# %% [markdown]
# AlexNet keeps most of its parameters in linear layers, which use each one once. And what we did *not* show: that growing in
# three dimensions beats growing in one. The digits have 8×8 pixels; enlarging them adds none.
#
# ## 7 · In practice
#
# torchvision has these networks, with trained weights. Its block is ours:

# %%
from torchvision.models import mobilenet_v2
from torchvision.models.mobilenetv2 import InvertedResidual as Theirs

theirs, ours = Theirs(24, 24, stride=1, expand_ratio=6).eval(), InvertedResidual(24, 24).eval()
ours.load_state_dict(dict(zip(ours.state_dict(), theirs.state_dict().values())))
y = torch.randn(1, 24, 14, 14)
assert torch.allclose(theirs(y), ours(y), atol=1e-5)
v2 = empty(mobilenet_v2)
print(f"MobileNetV2: {count(v2) / 1e6:.2f} M parameters, {macs(v2, image(224)) / 1e6:.0f} M MACs")

# %% [markdown]
# `mobilenet_v2(weights="DEFAULT")` downloads trained weights; the package timm has hundreds more such networks. Before you
# choose one, time it on *your* device, at your batch size: the order by MACs and the order by milliseconds differ. And
# lessons 02 to 12 apply on top.
#
# ## 8 · Quiz

# %%
from course_lib.checking import quiz

quiz()

# %% [markdown]
# ## 9 · Next
#
# The **exercises** let you count Fire, write a separable convolution and compound scaling, and train a MobileNet that must
# stay under a budget of MACs. Then **lesson 16** does to attention what this one did to convolution.
#
# - Howard et al. 2017, *MobileNets: Efficient Convolutional Neural Networks for Mobile Vision Applications*, arXiv:1704.04861.
# - Iandola et al. 2016, *SqueezeNet: AlexNet-level accuracy with 50x fewer parameters and <0.5MB model size*, arXiv:1602.07360.
# - Tan, Le 2019, *EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks*, ICML.

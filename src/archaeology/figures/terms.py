"""What methods and judges are called in a report, what they compute, and whose idea they are."""

from dataclasses import dataclass

LOGIT = "evidence for the predicted class (logit units)"
SLOPE = "logit units for each unit of brightness"


@dataclass(frozen=True)
class MethodTerm:
    """A method of explanation.

    Attributes:
        short: What a bright place of its map means, in a few words.
        says: What its map shows, to follow "shows" or "show".
        formula: What is computed.
        source: Whose it is.
        unit: What its values are, printed at the colour bar.
        is_share: Whether its values are shares of attention, so that multiples of an even share can be shown.
        knows_class: Whether its map depends on the class answered.
        note: What else must be known to read it.
    """

    short: str
    says: str
    formula: str
    source: str
    unit: str = LOGIT
    is_share: bool = False
    knows_class: bool = True
    note: str = ""


@dataclass(frozen=True)
class JudgeTerm:
    """A judge: its name, what it asks, its formula and its source."""

    title: str
    asks: str
    formula: str
    source: str


METHODS = {
    "rollout": MethodTerm(
        "attention through all layers",
        "from which patches the answer gathered its information, following attention through all layers",
        "A_l = ½ · mean over heads + ½ · identity, rows sum to 1; readout row of A_L ⋯ A_2 A_1",
        "Abnar and Zuidema, 2020",
        is_share=True,
        knows_class=False,
        note="Heads fused by their mean, no weights discarded. The identity stands for the skip connection around each "
        "layer.",
    ),
    "raw_attention": MethodTerm(
        "where the last layer looks",
        "at which patches the last layer looks when the answer is read",
        "readout row of softmax(Q Kᵀ / √d) in the last layer, mean over heads",
        "a first glance, no paper's method",
        is_share=True,
        knows_class=False,
    ),
    "attention_flow": MethodTerm(
        "most that can flow through",
        "how much could run from each patch to the answer if attention were pipes of that width",
        "maximum flow from the readout to each patch, capacities ½ · mean over heads + ½ · identity",
        "Abnar and Zuidema, 2020",
        "of the 1 that the readout sends",
        knows_class=False,
    ),
    "attention_times_gradient": MethodTerm(
        "looked at, and it helps",
        "where the last layer looks and where looking more would speak for the class answered",
        "readout row of mean over heads of ReLU(A · ∂ logit / ∂ A)",
        "Barkan et al., 2021; Chefer et al., 2021",
        "attention times logit units",
    ),
    "gradient_rollout": MethodTerm(
        "helpful attention, all layers",
        "from which patches the answer gathered what speaks for its class, through all layers",
        "readout row of the product over layers of (mean over heads of ReLU(A · ∂ logit / ∂ A) + identity) / row sums",
        "Abnar and Zuidema, 2020, with the matrices of Chefer et al., 2021",
        "share of what the readout gathers",
    ),
    "relevance": MethodTerm(
        "helpful attention, all layers",
        "which patches counted for the class answered, along all ways that attention takes",
        "R ← R + mean over heads of ReLU(A · ∂ logit / ∂ A) R, layer after layer; readout row of R less identity",
        "Chefer et al., 2021",
        "attention times logit units",
    ),
    "legrad": MethodTerm(
        "where looking more would help",
        "where looking more would raise the class in the early answer of each block",
        "mean over blocks, heads and queries of ReLU(∂ early logit / ∂ A)",
        "Bousselham et al., 2024",
        "logit units for each unit of attention",
    ),
    "grad_cam": MethodTerm(
        "late features that raise it",
        "which places spoke for the class answered",
        "ReLU(Σ_c w_c F_c), w_c = mean over places of ∂ logit / ∂ F_c",
        "Selvaraju et al., 2017",
        note="F are the feature maps of one late layer; only evidence for the class remains.",
    ),
    "grad_cam_plus_plus": MethodTerm(
        "late features that raise it",
        "which places spoke for the class answered, each place weighing in for itself",
        "ReLU(Σ_c w_c F_c), w_c = Σ over places of ReLU(g_c) / (2 + g_c Σ F_c), g = ∂ logit / ∂ F",
        "Chattopadhay et al., 2018",
    ),
    "gradient": MethodTerm(
        "pixels it is touchy about",
        "which pixels the class is most sensitive to: the control that better methods must beat",
        "Σ over colours of |∂ logit / ∂ pixel|",
        "Simonyan et al., 2014",
        SLOPE,
    ),
    "smooth_grad": MethodTerm(
        "gradient, averaged over noise",
        "which pixels the class is most sensitive to, averaged over noisy copies of the image",
        "largest over colours of |mean over noisy copies of ∂ logit / ∂ pixel|",
        "Smilkov et al., 2017",
        SLOPE,
    ),
    "integrated_gradients": MethodTerm(
        "each pixel's share of the logit",
        "how much each place added to the class on the way from an empty image to this one",
        "(image - empty) · ∫ ∂ logit / ∂ image along the straight way between them; positive part",
        "Sundararajan et al., 2017",
    ),
    "lrp": MethodTerm(
        "the logit handed back to pixels",
        "what each place contributed to the class, handed back from layer to layer",
        "(image - mean colour) · ∂ logit / ∂ image under the rules of AttnLRP (transformers) or ε (CNN); positive part",
        "Bach et al., 2015; Achtibat et al., 2024",
    ),
    "occlusion": MethodTerm(
        "how far the logit falls without it",
        "how far the class falls when a place is covered",
        "logit of the image - logit with a window covered, mean over the windows on a place; positive part",
        "Zeiler and Fergus, 2014",
    ),
    "random": MethodTerm(
        "knows nothing",
        "nothing: it is the floor that every method must rise above",
        "uniform noise, drawn from the image's own values",
        "a control",
        "nothing",
        knows_class=False,
    ),
}

JUDGES = {
    "srg": JudgeTerm(
        "Relevance gain",
        "Does the answer return soon when the most telling patches are put in, and go soon when they are taken out?",
        "area under p(class) of insertion - of deletion, most telling patches first",
        "Blücher et al., 2024",
    ),
    "road": JudgeTerm(
        "ROAD",
        "Does the answer suffer more without the most telling patches than without the least telling ones?",
        "mean over shares removed (filled in from their neighbours) of p(class), least telling first - most telling "
        "first",
        "Rong et al., 2022",
    ),
    "sensitivity_n": JudgeTerm(
        "Sensitivity-n",
        "Does the class fall by as much as the map says when random patches are taken out?",
        "mean over n of the correlation of the map's sum in n random patches with the fall of the logit",
        "Ancona et al., 2018",
    ),
    "pointing_game": JudgeTerm(
        "Pointing game",
        "Does the highest place lie on the object?",
        "share of the highest patch that the object covers - its share of the image",
        "Zhang et al., 2018",
    ),
    "mass_inside": JudgeTerm(
        "Mass inside",
        "How much of the map lies on the object?",
        "share of the map on the object / the object's share of the image; 1 is chance",
        "after Wang et al., 2020",
    ),
    "deletion": JudgeTerm(
        "Deletion",
        "Is the answer soon gone when the most telling patches go first?",
        "1 - area under p(class) against the share removed",
        "Petsiuk et al., 2018",
    ),
    "insertion": JudgeTerm(
        "Insertion",
        "Is the answer soon there when the most telling patches come first?",
        "area under p(class) against the share put in",
        "Petsiuk et al., 2018",
    ),
    "randomization": JudgeTerm(
        "Randomization check",
        "Does the map change when all that the model has learnt is destroyed?",
        "1 - rank correlation with the map of the model whose weights are all shuffled; fails if the correlation is "
        "surely above 0.2",
        "Adebayo et al., 2018",
    ),
    "stability": JudgeTerm(
        "Stability",
        "Does the map stay when noise too small to change the answer is added?",
        "mean rank correlation with the maps of noisy copies",
        "after Yeh et al., 2019",
    ),
    "complexity": JudgeTerm(
        "Simplicity",
        "Does the map name few places?",
        "1 - entropy of the map's shares / log(patches)",
        "after Bhatt et al., 2020",
    ),
    "sparseness": JudgeTerm(
        "Sparseness",
        "Is the map concentrated on few places?",
        "Gini index of the map over patches",
        "Chalasani et al., 2020",
    ),
}


def method_term(name: str) -> MethodTerm:
    """The term of a method; of one that is not known here it says little. Its title is `explain.method.title_of`."""
    return METHODS.get(name) or MethodTerm(
        "", "what counted by this method", "", "", "as the method gives it"
    )


def judge_term(name: str) -> JudgeTerm:
    """The term of a judge; one that is not known here is called by its name."""
    plain = name.replace("_", " ")
    return JUDGES.get(name) or JudgeTerm(plain[:1].upper() + plain[1:], "", "", "")

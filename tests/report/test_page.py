"""The page as a browser gets it: self-contained, valid, escaped, small, the same bytes every time."""

import base64
import hashlib
import re
import shutil
from collections import Counter
from html.parser import HTMLParser
from itertools import pairwise

import pytest

from archaeology.report import write_report

VOID = {"meta", "link", "input", "br", "image", "path", "use", "rect"}
MEGABYTE = 1_000_000


class Outline(HTMLParser):
    """Every element in order with its attributes, and whether they are closed as they were opened."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.elements, self.open, self.crossed, self.words = [], [], [], []
        self.nodes = 0  # as a browser that runs scripts counts them: what is in <noscript> is text to it
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self.nodes += "noscript" not in self.open
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self.nodes += "noscript" not in self.open

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.crossed.append(tag)

    def handle_data(self, data):
        if not self.open or self.open[-1] not in ("style", "script"):
            self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


def page_of(folder):
    """The page in a run's folder, with its outline."""
    text = (folder / "report.html").read_text(encoding="utf-8")
    return text, Outline(text)


@pytest.fixture(scope="session")
def small_page(small_folder):
    return page_of(small_folder)


@pytest.fixture(scope="session")
def large_page(large_run):
    write_report(large_run)
    return page_of(large_run)


@pytest.fixture(scope="session")
def unlabelled_page(unlabelled_run):
    write_report(unlabelled_run)
    return page_of(unlabelled_run)


@pytest.fixture(scope="session")
def plain_page(plain_run):
    write_report(plain_run)
    return page_of(plain_run)


@pytest.fixture(scope="session")
def attacked_page(attacked_run):
    write_report(attacked_run)
    return page_of(attacked_run)


@pytest.fixture(
    scope="session", params=["small_page", "large_page", "unlabelled_page", "plain_page", "attacked_page"]
)
def any_page(request):
    return request.getfixturevalue(request.param)


def test_it_asks_the_network_for_nothing(any_page):
    text, outline = any_page
    for tag, attributes in outline.elements:
        for name in ("src", "href", "data", "action", "poster", "srcset", "xlink:href"):
            value = attributes.get(name)
            assert value is None or value.startswith(("#", "data:")), (tag, name, value)
    assert set(re.findall(r"url\((?!['\"]?(?:data:|#))[^)]{0,40}", text)) == set()
    assert "@import" not in text and "@font-face" not in text
    assert set(re.findall(r"https?://[^\"' )>]+", text)) <= {"http://www.w3.org/2000/svg"}


def test_its_policy_forbids_what_it_does_not_need(any_page):
    text, outline = any_page
    policies = [a["content"] for t, a in outline.elements if a.get("http-equiv") == "Content-Security-Policy"]
    running = re.findall(r'<script(?: type="module")?>(.*?)</script>', text, re.DOTALL)
    digests = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in running]
    assert len(policies) == 1 and len(running) == 2
    assert "default-src 'none'" in policies[0] and "img-src data:" in policies[0]
    assert f"script-src 'sha256-{digests[0]}' 'sha256-{digests[1]}'; base-uri" in policies[0]
    assert not [a for _, a in outline.elements for name in a if name.startswith("on")]


def test_two_builds_are_the_same_bytes(small_run, small_page, tmp_path):
    copy = shutil.copytree(small_run, tmp_path / "another" / "place")
    (copy / "report.html").unlink()
    assert write_report(copy).read_text(encoding="utf-8") == small_page[0]


def test_the_large_page_is_small_enough(large_page):
    text, outline = large_page
    size, nodes = len(text.encode()), outline.nodes
    print(f"12 x 12 heads, 14 x 14 patches, 224 pixels: {size / MEGABYTE:.2f} MB, {nodes} elements")
    assert size < 10 * MEGABYTE
    assert nodes < 5000


def test_its_elements_are_closed_in_order(any_page):
    _, outline = any_page
    assert outline.crossed == [] and outline.open == []


def test_identifiers_are_unique_and_every_link_arrives(any_page):
    _, outline = any_page
    ids = [a["id"] for _, a in outline.elements if "id" in a]
    assert [name for name, times in Counter(ids).items() if times > 1] == []
    wanted = {a["href"][1:] for _, a in outline.elements if a.get("href", "").startswith("#")}
    wanted |= {a[name] for _, a in outline.elements for name in ("aria-labelledby", "for") if name in a}
    assert wanted - set(ids) == set()


def test_what_is_added_by_attacks_still_opens_fast(attacked_page):
    assert attacked_page[1].nodes < 5000


def test_headings_go_down_one_step_at_a_time(any_page):
    _, outline = any_page
    levels = [int(tag[1]) for tag, _ in outline.elements if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))


def test_every_picture_has_words(any_page):
    _, outline = any_page
    pictures = [a for _, a in outline.elements if a.get("role") == "img"]
    assert len(pictures) > 20
    assert all(a.get("aria-label") for a in pictures)
    buttons = [a for tag, a in outline.elements if tag == "button" and "data-row" in a]
    assert all(a.get("aria-label") for a in buttons)


def test_every_figure_has_its_data_as_a_table(small_page):
    _, outline = small_page
    figures = [a["id"] for _, a in outline.elements if a.get("id", "").startswith("figure-")]
    assert len(figures) == 16
    assert (
        sum(tag == "table" for tag, _ in outline.elements) == len(figures) + 1
    )  # and what is taken for what


def test_chapters_come_in_order(any_page):
    _, outline = any_page
    chapters = [a["id"] for _, a in outline.elements if "chapter" in a.get("class", "").split()]
    wanted = (
        "verdict findings specimens layers heads leaderboard pairs robustness representation failures "
        "limits methods provenance"
    ).split()
    optional = {"specimens", "leaderboard", "robustness", "representation", "failures"}
    assert chapters == [name for name in wanted if name not in optional or name in chapters]
    linked = [a["href"][1:] for tag, a in outline.elements if tag == "a" and a.get("href", "")[1:] in wanted]
    assert linked[: len(chapters) + 1] == ["verdict", *chapters]  # first the link that skips to the verdict


def test_an_older_run_has_no_empty_chapter_and_shows_the_defaults(plain_page):
    text, outline = plain_page
    assert 'id="leaderboard"' not in text and "#leaderboard" not in text
    assert "ViT: Rollout" in outline.text and "CNN: Grad-CAM" in outline.text
    assert "chosen by the leaderboard" not in outline.text and "Names of heads" not in outline.text
    figures = [a["id"] for _, a in outline.elements if a.get("id", "").startswith("figure-")]
    assert len(figures) == 10


def test_a_method_chosen_by_the_leaderboard_is_named_with_its_formula(small_page):
    _, outline = small_page
    assert (
        "ViT: Relevance, chosen by the leaderboard: lowest mean rank over the judges that count"
        in outline.text
    )
    assert "CNN: Grad-CAM, the default: no judge counts" in outline.text
    assert "F = output of stages.3; layer stages.3" in outline.text


def test_the_leaderboard_chapter_gives_rule_judges_and_what_is_missing(small_page):
    _, outline = small_page
    assert "The rule for the winner: lowest mean rank over the judges that count" in outline.text
    assert "Does the highest place lie on the object?" in outline.text
    assert "CNN: Raw attention" in outline.text and "the model has no attention" in outline.text
    assert "A method that fails cannot win." in outline.text


def test_every_method_judge_and_rule_is_explained(small_page):
    _, outline = small_page
    for words in (
        "Chefer et al., 2021",
        "Adebayo et al., 2018",
        "sink mass above 0.3",
        "corrected for how many were",
    ):
        assert words in outline.text


def test_the_worst_failures_come_first_and_right_and_wrong_are_words(small_page):
    _, outline = small_page
    outcomes = [a["data-outcome"] for tag, a in outline.elements if tag == "li" and "data-outcome" in a]
    assert len(outcomes) == 50
    assert outcomes[0].startswith("both-") and outcomes[-1] == "none"
    assert outcomes == sorted(outcomes, key=lambda outcome: outcome == "none")
    assert "✓ right" in outline.text and "✗ wrong" in outline.text


def test_filters_count_the_rows_they_show(small_page):
    _, outline = small_page
    rows = Counter(a["data-outcome"] for tag, a in outline.elements if tag == "li" and "data-outcome" in a)
    filters = [a["data-outcome"] for tag, a in outline.elements if tag == "button" and "data-outcome" in a]
    assert filters[0] == "all" and set(filters[1:]) == set(rows)
    for outcome, words in (("vit-only", "Only the ViT wrong"), ("none", "Both right")):
        assert f"{words} {rows[outcome]}" in outline.text


def test_a_map_without_evidence_is_not_drawn(small_page):
    text, outline = small_page
    assert "no positive evidence" in outline.text
    assert text.count('class="tile none') == 1


def test_every_layer_of_every_chosen_image_is_there(large_page):
    text, outline = large_page
    strips = [a for _, a in outline.elements if "strip" in a.get("class", "").split()]
    assert len(strips) == 20
    layers = Counter(a.get("style") for tag, a in outline.elements if tag == "i")
    assert layers == {f"--l: {layer}": 20 for layer in range(12)}
    assert len(re.findall(r'--atlas: url\("data:image/png', text)) == 20
    assert "all 144 heads" in outline.text


def test_without_labels_agreement_takes_the_place_of_accuracy(unlabelled_page):
    _, outline = unlabelled_page
    assert "The ViT and the CNN give the same answer on" in outline.text
    assert "without labels that match both models, nobody can say which of them is right" in outline.text
    ids = {a["id"] for _, a in outline.elements if "id" in a}
    assert "figure-accuracy" not in ids and "figure-entropy" in ids
    assert "✗ wrong" not in outline.text
    filters = {a["data-outcome"] for tag, a in outline.elements if tag == "button" and "data-outcome" in a}
    assert filters == {"all", "agree", "disagree"}


def test_provenance_is_complete(small_page):
    _, outline = small_page
    for words in (
        "archaeology dig --vit bundled:vit_cifar10",
        "torch 2.15.0",
        "1b8148e0c0ffee",
        "nothing changed since",
        "test/broken.png: the file is empty",
        "Weights, sha256",
        "Fingerprint",
        "41.3 s",
    ):
        assert words in outline.text


EVIL = "<script>alert(1)</script>"
QUOTED = "a\"b'c <img src=x onerror=alert(2)> | `d`.png"


@pytest.fixture(scope="session")
def hostile_folder(made_up, tmp_path_factory):
    finding = {"title": EVIL, "text": f"{QUOTED} **bold**", "evidence": EVIL, "strength": 2.0}
    plan = made_up.Plan(
        classes=(EVIL, "a|b", "c`d"),
        num_images=60,
        image_ids=(QUOTED,) * 60,
        names=(f"run:{EVIL}", "timm:x?y=\"z'"),
        findings=(finding,),
        full_attention=False,
    )
    folder = made_up.write_run(tmp_path_factory.mktemp("hostile") / "run", plan)
    write_report(folder)
    return folder


def test_hostile_names_are_text_on_the_page(hostile_folder):
    text = (hostile_folder / "report.html").read_text(encoding="utf-8")
    outline = Outline(text)
    assert EVIL in outline.text and " ".join(QUOTED.split()) in outline.text
    assert EVIL not in text
    assert "<img" not in text
    assert not [a for _, a in outline.elements for name in a if name.startswith("on")]
    labels = [a["aria-label"] for _, a in outline.elements if EVIL in a.get("aria-label", "")]
    assert labels
    assert outline.crossed == []


def test_hostile_names_are_text_in_markdown(hostile_folder):
    text = (hostile_folder / "report.md").read_text(encoding="utf-8")
    prose = [
        line for line in text.splitlines() if not line.startswith("    ")
    ]  # four spaces: shown as it stands
    assert "<" not in "".join(prose) and "&lt;script&gt;alert(1)&lt;/script&gt;" in "".join(prose)
    tables = [line for line in text.splitlines() if line.startswith("| ")]
    columns = {len(re.findall(r"(?<!\\)\|", line)) for line in tables if "onerror" in line}
    assert columns == {7}
    assert r"\*\*bold\*\*" in text


def test_a_finding_whose_evidence_is_nowhere_gets_no_link(hostile_folder):
    outline = Outline((hostile_folder / "report.html").read_text(encoding="utf-8"))
    assert not [a for tag, a in outline.elements if tag == "a" and "script" in a.get("href", "")]

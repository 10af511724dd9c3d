"""What students do on a page, each once by mouse and once by keyboard."""

import pytest

import graphs

DIAGNOSIS = "P(M)P(S)P(F)P(I|M,S)P(T|F)P(D|I,T)"


@pytest.fixture(params=["mouse", "keyboard"])
def hand(request):
    return request.param


def test_see_why_two_nodes_are_dependent(visit, hand):
    page = visit(DIAGNOSIS, hand)
    page.ask("M _||_ F | D")
    assert page.verdict == "M ⟂ F | D does not hold."
    assert page.active == {"M -> I", "I -> D", "T -> D", "F -> T"}
    reasons = page.page.locator(".gp-reasons li").all_inner_texts()
    assert reasons[1] == "D is a collider (a common effect) that is observed: open."
    page.press(page.page.get_by_text("In full, as text"))
    expected = graphs.query(graphs.textbook.diagnosis(), "M _||_ F | D").explain()
    assert page.page.locator(".gp-text pre").first.inner_text() == expected


def test_see_what_blocks_every_path(visit, hand):
    page = visit(DIAGNOSIS, hand, query="M _||_ F | T")
    assert page.verdict == "M ⟂ F | T holds."
    assert page.having("blocker") == {"D", "T"}
    assert page.page.locator(".gp-trail mark").all_inner_texts() == ["D", "T"]
    reason = page.page.locator(".gp-reasons li").first
    reason.hover() if hand == "mouse" else reason.focus()
    assert page.having("lit") == {"D"}


def test_ask_by_choosing_two_nodes_and_observe(visit, hand):
    page = visit(DIAGNOSIS, hand)
    if hand == "mouse":
        page.node("M").click(modifiers=["Shift"])
        page.node("F").click(modifiers=["Shift"])
        page.ready()
    else:
        page.press(page.node("M"), "a")
        page.press(page.node("F"), "a")
    assert page.verdict == "M ⟂ F holds."
    page.press(page.node("D"))
    assert page.verdict == "M ⟂ F | D does not hold."
    assert page.node("D").get_attribute("aria-pressed") == "true"
    page.press(page.node("D"))
    assert page.verdict == "M ⟂ F holds."


def test_move_posteriors_by_evidence(visit, hand):
    page = visit("asia", hand)
    for evidence in ({"dysp": "yes"}, {"dysp": "yes", "smoke": "yes"}):
        page.press(page.node(list(evidence)[-1]))
        tree = graphs.JunctionTree(graphs.textbook.parameters("asia"))
        for node, expected in tree.marginals(evidence).items():
            for state, p in zip(tree.states[node], expected.tolist(), strict=True):
                assert page.bar(node, state) == pytest.approx(p, abs=1e-9)
        shown = float(page.page.locator(".gp-probability").get_attribute("data-p"))
        assert shown == pytest.approx(tree.log_partition(evidence).exp().item(), abs=1e-9)
    page.press(page.node("smoke"))
    assert page.bar("smoke", "no") == 1
    page.press(page.button("Forget all"))
    assert page.bar("smoke", "no") == pytest.approx(0.5)


def test_a_refused_edit_says_why_and_an_accepted_one_is_undone(visit, hand):
    page = visit(DIAGNOSIS, hand, query="M _||_ F")
    section = page.open("Edit")
    section.get_by_label("from").select_option("D")
    section.get_by_label("to", exact=True).select_option("M")
    page.press(section.get_by_role("button", name="Add edge"))
    assert "cycle" in page.page.get_by_role("alert").first.inner_text()
    assert len(page.edges) == 5
    section.get_by_label("from").select_option("M")
    section.get_by_label("to", exact=True).select_option("F")
    page.press(section.get_by_role("button", name="Add edge"))
    assert page.verdict == "M ⟂ F does not hold."
    page.press(section.get_by_role("button", name="Reverse"))
    assert "F -> M" in page.edges
    page.press(page.button("undo"))
    assert "M -> F" in page.edges
    page.node("M").focus()
    page.page.keyboard.press("Control+z")
    page.ready()
    assert page.verdict == "M ⟂ F holds."
    page.page.keyboard.press("Control+Shift+Z")
    page.ready()
    assert page.verdict == "M ⟂ F does not hold."


def test_build_a_model_from_nothing(visit, hand):
    page = visit("A -> B", hand)
    section = page.open("Edit")
    field = section.get_by_label("name of the new node")
    field.fill("wet grass")
    page.press(section.get_by_role("button", name="Add node"))
    section.get_by_label("from").select_option("wet grass")
    section.get_by_label("to", exact=True).select_option("B")
    page.press(section.get_by_role("button", name="Add edge"))
    page.ask('A _||_ "wet grass" | B')
    assert page.verdict == 'A ⟂ "wet grass" | B does not hold.'
    page.press(page.node("A"), "l") if hand == "keyboard" else page.mode("Look")
    if hand == "mouse":
        page.press(page.node("A"))
    section = page.open("Edit")
    section.get_by_label("new name of A").fill("rain")
    page.press(section.get_by_role("button", name="Rename"))
    assert "rain -> B" in page.edges
    assert set(page.session.state.subject.whole.edges) == {("rain", "B"), ("wet grass", "B")}


def test_have_a_homework_answer_checked(visit, hand):
    campus = "P(C)P(O)P(A)P(S|O)P(T|O,A)P(B|S)P(M|B,T,A)"
    page = visit(campus, hand)
    page.open("Check a claim")
    page.write("a claim to check", "1/Z phi(C) phi(O,S) phi(B,S) phi(O,T,A) phi(A,T,M) phi(B,T,M)")
    section = page.open("Check a claim")
    assert "Not true of the model." in section.inner_text()
    clique = section.get_by_label("clique").locator(".gp-tag").all_inner_texts()
    assert clique == ["A", "B", "M", "T"]
    assert "A counterexample in bits" in section.locator("pre").text_content()
    page.press(section.get_by_role("button", name="A ⟂ B | M, O, T"))
    assert page.verdict == "A ⟂ B | M, O, T does not hold."


def test_a_text_that_cannot_be_read_gets_a_caret(visit, hand):
    page = visit(DIAGNOSIS, hand)
    page.ask("M _||_ = F")
    alert = page.page.get_by_role("alert").first
    assert alert.locator("pre").inner_text().split("\n")[1].index("^") == 7
    page.open("Check a claim")
    page.write("a claim to check", "P(M|")
    alert = page.open("Check a claim").get_by_role("alert")
    assert "expected the name of a variable" in alert.inner_text()
    assert page.page.get_by_label("a claim to check").input_value() == "P(M|"


def test_look_at_the_moral_graph_and_the_class(visit, hand):
    page = visit(DIAGNOSIS, hand, query="M _||_ F | D")
    page.open("Views")
    page.press(page.button("Moral graph"))
    assert {"M -- S", "I -- T"} <= page.edges
    assert page.page.locator(".gp-edge.gp-added").count() == 2
    page.press(page.button("Ancestral moral graph"))
    assert "cut every path" in page.page.locator(".gp-side").inner_text()
    page.press(page.button("Equivalence class"))
    assert page.page.locator(".gp-edge.gp-reversible").count() == 1
    page.page.get_by_label("member of the class").select_option("1")
    page.ready()
    assert "T -> F" in page.edges
    page.press(page.button("Take it as the model"))
    assert page.session.state.subject.whole.has_edge("T", "F")
    assert page.verdict == "M ⟂ F | D does not hold."


def test_look_up_a_blanket(visit, hand):
    page = visit("P(C)P(O)P(A)P(S|O)P(T|O,A)P(B|S)P(M|B,T,A)", hand)
    page.mode("Look")
    page.press(page.node("T"))
    assert page.having("blanket") == {"A", "B", "M", "O"}
    page.press(page.button("T ⟂ B, C, S | A, O"))
    assert page.verdict == "T ⟂ B, C, S | A, O holds."


def test_randomise_a_treatment(visit, hand):
    page = visit("asia", hand, query="smoke _||_ bronc")
    page.mode("Look")
    page.press(page.node("bronc"))
    page.press(page.button("Randomise (cut the arrows into it)"))
    assert "smoke -> bronc" not in page.edges
    assert page.verdict == "smoke ⟂ bronc holds."
    assert page.bar("bronc", "yes") == pytest.approx(0.5)


def test_practise(visit, hand):
    page = visit(DIAGNOSIS, hand, query="M _||_ F | T", quiz=True)
    side = page.page.locator(".gp-side")
    assert "does it hold?" in side.inner_text()
    assert page.having("blocker") == set()
    page.press(page.node("I"))
    assert page.having("named") == {"I"}
    page.press(page.button("It holds"))
    assert "Yes, but not for this" in side.locator(".gp-judged").inner_text()
    assert page.having("blocker") == {"D", "T"}
    page.press(page.button("Next question"))
    assert "does it hold?" in side.inner_text()


def test_read_a_pasted_model(visit, hand):
    page = visit(DIAGNOSIS, hand)
    page.open("Edit")
    page.page.get_by_label("a model as text").fill("dag { x -> m -> y; x <-> y }")
    page.press(page.button("Read model"))
    assert page.edges == {"x -> m", "m -> y", "x <-> y"}
    page.ask("x _||_ y | m")
    assert page.active == {"x <-> y"}

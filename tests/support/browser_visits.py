"""A page in a real browser, and what a student does there."""


class Visit:
    """A page in the browser, and the session that answers it."""

    def __init__(self, browser, session, hand="mouse", url=None, **options):
        self.session, self.hand = session, hand
        self.context = browser.new_context(viewport={"width": 1200, "height": 800}, **options)
        self.page = self.context.new_page()
        self.page.set_default_timeout(15_000)
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda m: self.complaints.append(f"{m.type}: {m.text}"))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("dialog", lambda dialog: self.complaints.append(dialog.message))
        if url:
            self.page.goto(url)
            self.ready()

    def ready(self):
        """Wait until nothing is under way."""
        self.page.wait_for_selector(".gp:not(.gp-busy) .gp-node")

    def node(self, name):
        return self.page.locator(f"g[data-node={json_string(name)}]")

    def press(self, target, key="Enter"):
        """Click, or focus and press a key."""
        if self.hand == "mouse":
            target.click()
        else:
            target.focus()
            self.page.keyboard.press(key)
        self.ready()

    def button(self, name, exact=True):
        return self.page.get_by_role("button", name=name, exact=exact)

    def write(self, label, text):
        field = self.page.get_by_label(label, exact=True)
        field.fill(text)
        field.press("Enter")
        self.ready()

    def ask(self, text):
        self.write("a question", text)

    def open(self, section):
        details = self.page.locator("details.gp-section").filter(
            has=self.page.locator("summary", has_text=section)
        )
        if details.first.get_attribute("open") is None:
            self.press(details.first.locator("> summary"))
        return details.first

    def mode(self, name):
        self.press(self.button(name))

    @property
    def verdict(self):
        return self.page.locator(".gp-side .gp-verdict").first.inner_text()

    @property
    def active(self):
        """The edges that are painted as active, by their labels."""
        found = self.page.locator(".gp-edge.gp-active")
        return {label.removeprefix("edge ") for label in labels(found)}

    @property
    def edges(self):
        found = labels(self.page.locator(".gp-edges .gp-edge"))
        return {label.removeprefix("edge ") for label in found}

    def having(self, role):
        found = self.page.locator(f".gp-nodes .gp-{role}")
        return set(found.evaluate_all("nodes => nodes.map(n => n.dataset.node)"))

    def bar(self, node, state):
        row = self.node(node).locator(f"[data-state={json_string(state)}]")
        return float(row.get_attribute("data-p"))


def labels(found):
    return found.evaluate_all("nodes => nodes.map(n => n.getAttribute('aria-label'))")


def json_string(text):
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'

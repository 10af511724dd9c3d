"""The server of a page answers its own page, and nobody and nothing else."""

import http.client
import json
import socket
import threading
import time

import pytest

import graphs
from graphs.inference import ahead, work
from graphs.interactive.server import MOST_BYTES, Server
from graphs.interactive.session import Session


@pytest.fixture(scope="module")
def server():
    with Server(Session(graphs.textbook.diagnosis())) as running:
        yield running


def ask(server, method="POST", path="/event", body=b'{"type": "open"}', **changed):
    headers = {
        "Host": f"127.0.0.1:{server.port}",
        "Content-Type": "application/json",
        "X-Graphs-Token": server.token,
        "Content-Length": str(len(body or b"")),
    }
    headers |= {key.replace("_", "-"): value for key, value in changed.items()}
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
    for key, value in headers.items():
        for each in value if isinstance(value, list) else [value]:
            if each is not None:
                connection.putheader(key, each)
    connection.endheaders(body)
    response = connection.getresponse()
    found = response.status, dict(response.getheaders()), response.read()
    connection.close()
    return found


def test_it_listens_on_this_machine_alone(server):
    assert server._http.server_address[0] == "127.0.0.1"
    assert server.url == f"http://127.0.0.1:{server.port}/#{server.token}"
    assert len(server.token) >= 32


def test_an_event_is_answered(server):
    body = json.dumps({"type": "ask", "text": "M _||_ F | D"}).encode()
    status, headers, reply = ask(server, body=body)
    assert status == 200
    assert headers["Content-Type"].startswith("application/json")
    assert json.loads(reply)["answer"]["path"] == ["M", "I", "D", "T", "F"]
    assert ask(server, Origin=f"http://127.0.0.1:{server.port}")[0] == 200
    assert ask(server, Host=f"localhost:{server.port}")[0] == 200


@pytest.mark.parametrize(
    ("status", "changed"),
    [
        (403, {"Host": "evil.example"}),
        (403, {"Host": "evil.example:{port}"}),
        (403, {"Host": "127.0.0.1"}),
        (403, {"Host": None}),
        (403, {"Host": ["127.0.0.1:{port}", "evil.example"]}),
        (403, {"Host": "127.0.0.1:{port}@evil.example"}),
        (403, {"Host": "localhost.:{port}"}),
        (403, {"Host": "evil.example:{port}", "Origin": "http://evil.example:{port}"}),
        (403, {"Origin": "http://127.0.0.1:{port}.evil.example"}),
        (403, {"Origin": "http://evil.example", "Content_Type": "text/plain"}),
        (415, {"Content_Type": "text/plain; charset=application/json"}),
        (403, {"Origin": "http://evil.example"}),
        (403, {"Origin": "null"}),
        (403, {"Origin": "https://127.0.0.1:{port}"}),
        (403, {"Origin": "http://127.0.0.1:1"}),
        (403, {"X_Graphs_Token": None}),
        (403, {"X_Graphs_Token": ""}),
        (403, {"X_Graphs_Token": "wrong"}),
        (403, {"X_Graphs_Token": "\xff"}),
        (415, {"Content_Type": "application/x-www-form-urlencoded"}),
        (415, {"Content_Type": "text/plain"}),
        (415, {"Content_Type": None}),
        (411, {"Content_Length": None}),
        (411, {"Content_Length": "-1"}),
        (411, {"Content_Length": "0x10"}),
        (411, {"Content_Length": ["16", "5"]}),
        (411, {"Transfer_Encoding": "chunked"}),
        (413, {"Content_Length": str(MOST_BYTES + 1)}),
        (413, {"Content_Length": "9" * 30}),
    ],
)
def test_a_hostile_request_is_refused(server, status, changed):
    def filled(value):
        if isinstance(value, list):
            return list(map(filled, value))
        return value.replace("{port}", str(server.port)) if value else value

    found, headers, body = ask(server, **{key: filled(v) for key, v in changed.items()})
    assert found == status
    assert b"Bayesian" not in body
    assert "Access-Control-Allow-Origin" not in headers
    assert ask(server)[0] == 200


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"\xff", b"[" * 60_000, b'{"a":' * 12_000, json.dumps([[[[[[]]]]]] * 2).encode()],
)
def test_a_broken_body_is_refused_or_answered_with_an_error(server, body):
    status, _, reply = ask(server, body=body)
    assert status == 400 or not json.loads(reply)["ok"]
    deep = b'{"type": "open", "a": ' + b"[" * 30 + b"]" * 30 + b"}"
    assert ask(server, body=deep)[0] == 400


def test_odd_events_are_answered_with_an_error(server):
    for body in (
        b"3",
        b"null",
        b'"open"',
        b'{"type": 3}',
        b'{"type": "fly"}',
        b'{"type": "\\ud800"}',
    ):
        status, _, reply = ask(server, body=body)
        assert (status, json.loads(reply)["ok"]) == (200, False), body
    for body in (b'{"type": "move", "node": "M", "x": NaN, "y": 1e999}',):
        assert not json.loads(ask(server, body=body)[2])["ok"]


@pytest.mark.parametrize(
    "path",
    [
        "/../setup.cfg",
        "/page.js/../../session.py",
        "/static/page.js",
        "//etc/passwd",
        "/event",
        "/%2e",
    ],
)
def test_no_path_leads_to_a_file(server, path):
    status, _, body = ask(server, "GET", path, None)
    assert status == 404
    assert b"import" not in body


@pytest.mark.parametrize("method", ["PUT", "DELETE", "OPTIONS", "TRACE", "HEAD", "PATCH"])
def test_other_methods_are_not_known(server, method):
    assert ask(server, method)[0] == 501


def test_the_page_says_nothing_before_it_has_the_token(server):
    status, headers, body = ask(server, "GET", "/", None, X_Graphs_Token=None)
    assert status == 200
    assert server.token.encode() not in body
    rules = headers["Content-Security-Policy"]
    nonce = rules.split("'nonce-")[1].split("'")[0]
    assert f'nonce="{nonce}"'.encode() in body
    assert rules.startswith("default-src 'none'")
    assert "unsafe" not in rules
    assert "frame-ancestors 'none'" in rules
    assert nonce not in ask(server, "GET", "/", None)[1]["Content-Security-Policy"]
    for name, kind in (("page.js", "text/javascript"), ("page.css", "text/css")):
        status, headers, body = ask(server, "GET", f"/{name}", None)
        assert (status, headers["Content-Type"].split(";")[0]) == (200, kind)
        assert headers["X-Content-Type-Options"] == "nosniff"
    assert ask(server, "GET", "/", None, Host="evil.example")[0] == 403


def test_a_slow_client_keeps_nobody_waiting(server, monkeypatch):
    monkeypatch.setattr("graphs.interactive.server._Handler.timeout", 0.5)
    with socket.create_connection(("127.0.0.1", server.port)) as slow:
        slow.sendall(b"POST /event HTTP/1.1\r\n")
        assert ask(server)[0] == 200
        slow.settimeout(5)
        assert slow.recv(10) == b""  # hung up on


def test_eight_clients_at_once_get_whole_answers(server):
    found = []

    def client(number):
        text = "M _||_ F | D" if number % 2 else "M _||_ F | T"
        body = json.dumps({"type": "ask", "text": text}).encode()
        reply = json.loads(ask(server, body=body)[2])
        found.append(reply["answer"]["holds"] == (number % 2 == 0))

    threads = [threading.Thread(target=client, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 8


def test_closing_leaves_no_thread_and_gives_the_port_back():
    before = set(threading.enumerate())
    with Server(Session("diagnosis")) as first:
        port = first.port
        assert ask(first)[0] == 200
        with pytest.raises(ValueError, match=f"a free port, got {port}"):
            Server(Session("diagnosis"), port)
    assert set(threading.enumerate()) <= before
    with Server(Session("diagnosis"), port) as second:
        assert second.port == port
    for port in (-1, 1 << 16, "80", True):
        with pytest.raises(ValueError, match="a port from 0"):
            Server(Session("diagnosis"), port)


def test_no_click_waits_for_compiled_code(monkeypatch):
    monkeypatch.setattr(work.BUDGET, "asked", 0)
    monkeypatch.setattr(work.BUDGET, "most", 1e9)
    ahead.compiling.cache_clear()
    body = b'{"type": "observe", "node": "dysp", "state": "yes"}'
    with Server(Session("asia")) as server:
        assert ask(server)[0] == 200
        assert not ahead.compiling.cache_info().currsize  # nothing has asked for numbers
        plain = json.loads(ask(server, body=body)[2])["bars"]
        for _ in range(200):  # it begins once the answer is sent
            if ahead.compiling.cache_info().currsize:
                break
            time.sleep(0.02)
        assert ahead.compiling.cache_info().currsize
        ahead.compiling().join()
        assert not work.BUDGET.allows(0)
        ask(server, body=b'{"type": "forget"}')
        server.session.state.subject._lately.clear()
        compiled = json.loads(ask(server, body=body)[2])["bars"]
    assert compiled["probability"] == pytest.approx(plain["probability"], rel=1e-12)
    for node, found in plain["nodes"].items():
        assert compiled["nodes"][node]["p"] == pytest.approx(found["p"], rel=1e-12)

"""What we assume of Flask and Werkzeug, and what they would do if our own code did not come first."""

from __future__ import annotations

import hmac
import io
from typing import Any

import pytest
from flask import Flask, Response, request

from tokensvc.core import strict_json


@pytest.fixture
def app() -> Flask:
    made = Flask("backstop", static_folder=None)

    @made.route("/echo", methods=["GET", "POST"])
    def echo() -> dict[str, Any]:
        return {
            "args": request.args.getlist("a"),
            "first": request.args.get("a"),
            "host_url": request.host_url,
            "host": request.host,
            "scheme": request.scheme,
            "peer": request.remote_addr,
            "path": request.path,
            "method": request.method,
        }

    @made.post("/json")
    def json() -> str:
        return repr(request.get_json(force=True))

    @made.post("/form")
    def form() -> dict[str, Any]:
        return {"first": request.form.get("t"), "merged": request.values.get("t")}

    @made.post("/body")
    def body() -> str:
        return str(len(request.stream.read()))

    return made


# Requests


def test_a_view_of_get_answers_head_too(app: Flask) -> None:
    """So the view that issues has to refuse HEAD itself."""
    assert app.test_client().head("/echo").status_code == 200


def test_options_is_answered_unasked_unless_it_is_switched_off(app: Flask) -> None:
    assert app.test_client().options("/echo").status_code == 200
    app = Flask("backstop")
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False
    app.add_url_rule("/", "root", lambda: "x")
    answer = app.test_client().options("/")
    assert (answer.status_code, set(answer.headers["Allow"].split(", "))) == (405, {"GET", "HEAD"})


def test_a_repeated_member_of_the_query_reads_as_its_first(app: Flask) -> None:
    """The guard: `credentials._once`."""
    answer = app.test_client().get("/echo?a=1&a=2").get_json()
    assert (answer["args"], answer["first"]) == (["1", "2"], "1")


def test_a_repeated_form_field_reads_as_its_first_and_the_query_as_a_field(app: Flask) -> None:
    """The guard: `multipart.read_form`, and no use of `request.form` and `request.values` anywhere."""
    answer = app.test_client().post("/form?t=query", data={"t": ["1", "2"]}).get_json()
    assert answer == {"first": "1", "merged": "query"}


LAX = {
    "NaN": b'{"a":NaN}',
    "duplicate": b'{"a":1,"a":2}',
    "lone surrogate": b'{"a":"\\ud800"}',
    "byte order mark": b"\xef\xbb\xbf{}",
    "UTF-16": '{"a":1}'.encode("utf-16"),
}


@pytest.mark.parametrize("case", LAX)
def test_get_json_takes_what_is_not_json(app: Flask, case: str) -> None:
    """The guard: `strict_json`."""
    assert app.test_client().post("/json", data=LAX[case]).status_code == 200
    with pytest.raises(ValueError, match=r"."):
        strict_json.loads_object(LAX[case])


def test_get_json_ends_in_an_error_of_ours_when_it_is_deep(app: Flask) -> None:
    deep = b"[" * 100_000
    assert app.test_client().post("/json", data=deep).status_code == 500
    with pytest.raises(ValueError, match="nested"):
        strict_json.loads(deep)


def test_the_peer_is_the_peer_whatever_is_forwarded(app: Flask) -> None:
    """Nothing trusts these headers until a ProxyFix is configured."""
    spoofed = {"X-Forwarded-For": "1.1.1.1", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "evil.example"}
    answer = app.test_client().get("/echo", headers=spoofed | {"Forwarded": "for=1.1.1.1;proto=https"}).get_json()
    assert (answer["peer"], answer["scheme"], answer["host"]) == ("127.0.0.1", "http", "localhost")


def test_the_method_is_not_overridden(app: Flask) -> None:
    answer = app.test_client().get("/echo", headers={"X-HTTP-Method-Override": "POST"}, data={"_method": "POST"})
    assert answer.get_json()["method"] == "GET"


def test_the_host_url_is_not_what_a_browser_calls_the_origin(app: Flask) -> None:
    """It decodes international names; the guard: `identity.own_origin`."""
    answer = app.test_client().get("/echo", base_url="http://xn--bcher-kva.example").get_json()
    assert (answer["host_url"], answer["host"]) == ("http://bücher.example/", "xn--bcher-kva.example")


@pytest.mark.parametrize(("host", "read"), [("a/b", ""), ("a b", ""), ("a@b", ""), ("a:99999", ""), ("A:80", "A")])
def test_a_host_that_is_none_reads_as_empty(app: Flask, host: str, read: str) -> None:
    """`identity.install_hosts` relies on it, and on nothing that is empty being listed."""
    assert app.test_client().get("/echo", headers={"Host": host}).get_json()["host"] == read


def test_a_trusted_ipv6_host_is_not_recognised() -> None:
    """The guard: `identity.install_hosts`, which is there for this."""
    app = Flask("backstop")
    app.config["TRUSTED_HOSTS"] = ["[::1]"]
    app.add_url_rule("/", "root", lambda: "x")
    assert app.test_client().get("/", base_url="http://[::1]:8000").status_code == 400


def test_double_slashes_are_redirected_unless_that_is_switched_off() -> None:
    app = Flask("backstop")
    app.add_url_rule("/a/<name>", "root", lambda name: name)
    assert app.test_client().get("/a//b").status_code == 308
    app = Flask("backstop")
    app.url_map.merge_slashes = False
    app.add_url_rule("/a/<name>", "root", lambda name: name)
    assert app.test_client().get("/a//b").status_code == 404


def test_slashes_in_front_are_one(app: Flask) -> None:
    """So a path cannot pass for another part of the service by them."""
    assert app.test_client().get("/%2F%2Fecho").get_json()["path"] == "/echo"


@pytest.mark.parametrize(
    ("header", "read"),
    [
        ("Basic eDo=", ("basic", "x", "")),
        ("basic eDp5OnpQ", ("basic", "x", "y:zP")),
        ("Basic", ("basic", "", "")),
        ("Basic !!!", None),
        ("Bearer x", ("bearer", None, None)),
    ],
)
def test_basic_authentication_is_read_or_is_none(app: Flask, header: str, read: tuple[str, Any, Any] | None) -> None:
    with app.test_request_context(headers={"Authorization": header}):
        found = request.authorization
        assert (None if found is None else (found.type, found.username, found.password)) == read


# Bodies


def read_body(app: Flask, content: bytes, **environ: Any) -> tuple[int, bytes]:
    """The status and what the view read; Werkzeug's test client would else say the true length."""
    environ = {"CONTENT_LENGTH": "", **environ}
    answer = app.test_client().post("/body", input_stream=io.BytesIO(content), environ_overrides=environ)
    return answer.status_code, answer.get_data()


def test_a_body_without_length_is_empty_unless_the_server_ends_it(app: Flask) -> None:
    """gunicorn ends chunked bodies, and says so."""
    assert read_body(app, b"x" * 10) == (200, b"0")
    assert read_body(app, b"x" * 10, **{"wsgi.input_terminated": True}) == (200, b"10")


def test_a_body_is_read_no_further_than_its_length(app: Flask) -> None:
    assert read_body(app, b"x" * 50, CONTENT_LENGTH="10") == (200, b"10")


def test_a_body_shorter_than_its_length_is_a_bad_request(app: Flask) -> None:
    status, _ = read_body(app, b"x" * 5, CONTENT_LENGTH="10")
    assert status == 400


# Errors and answers


@pytest.mark.parametrize("flags", [{}, {"testing": True}, {"debug": True}])
def test_a_handler_for_every_exception_sees_every_exception(flags: dict[str, bool]) -> None:
    """In debug mode and in tests too: the last-resort shape is never Flask's own page."""
    app = Flask("backstop")
    app.debug, app.testing = flags.get("debug", False), flags.get("testing", False)
    app.register_error_handler(Exception, lambda exc: (type(exc).__name__, 500))

    @app.get("/")
    def fail() -> str:
        raise RuntimeError

    assert app.test_client().get("/").get_data() == b"RuntimeError"
    assert app.test_client().get("/nowhere").get_data() == b"NotFound"


def test_what_runs_before_a_request_runs_before_its_404_and_405(app: Flask) -> None:
    """So a foreign page is refused whatever the path, and every error has a request id."""
    seen: list[str] = []
    app.before_request(lambda: seen.append(request.path))
    client = app.test_client()
    assert [client.get("/nowhere").status_code, client.put("/echo").status_code] == [404, 405]
    assert seen == ["/nowhere", "/echo"]


def test_what_runs_after_a_request_runs_after_an_error_too(app: Flask) -> None:
    """So errors can be read across origins."""

    def mark(answer: Response) -> Response:
        answer.headers["X-Mark"] = "1"
        return answer

    app.after_request(mark)
    app.register_error_handler(Exception, lambda _exc: ("x", 500))
    app.add_url_rule("/fail", "fail", lambda: str(1 // 0))
    assert [app.test_client().get(path).headers["X-Mark"] for path in ("/nowhere", "/fail")] == ["1", "1"]


def test_an_answer_has_no_validators_and_no_cookie_of_its_own(app: Flask) -> None:
    answer = app.test_client().get("/echo")
    assert {name.lower() for name, _ in answer.headers} == {"content-type", "content-length"}


def test_a_line_break_cannot_be_put_into_a_header() -> None:
    with pytest.raises(ValueError, match="newline"):
        Response().headers["X-Any"] = "a\r\nSet-Cookie: b"


# Python's own, for want of a better place


def test_texts_that_are_not_ascii_cannot_be_compared_in_constant_time() -> None:
    """It would be a 500 for a stranger's wish: `v1` matches the form first, and `mac.same` takes bytes."""
    with pytest.raises(TypeError):
        hmac.compare_digest("é", "é")


@pytest.mark.parametrize("text", ["01795359853", " 1795359853", "+1795359853", "1_795_359_853", "١٧٩٥٣٥٩٨٥٣"])
def test_int_reads_many_spellings_of_one_number(text: str) -> None:
    """Two spellings of one v1 credential would be two uploads. The guard: `window.parse_expire`, `v1._EXPIRE`."""
    assert int(text) == 1795359853

"""Requests to a tenant's source go to the address that was judged and nowhere else, and end in time."""

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pydantic import SecretStr

from orchestration.addresses import InternalAddress, allowed_address
from orchestration.sources import http
from orchestration.sources.errors import ConfigurationError, TransientError
from orchestration.sources.http import Answer, SourceClient, retry_after
from orchestration.sources.protocol import Context
from orchestration.sources.redaction import Redactor
from tests.test_addresses import answers

SECRET = "canary-token"

Reply = Callable[["Handler"], None]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    reply: Reply
    seen: list[tuple[str, str]]

    def do_GET(self) -> None:
        self.seen.append((self.headers["Host"], self.path))
        type(self).reply(self)

    do_POST = do_GET

    def send(self, status: int, body: bytes = b"{}", **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content_Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        return


@contextmanager
def vendor(reply: Reply, tls: ssl.SSLContext | None = None) -> Iterator[tuple[int, list[tuple[str, str]]]]:
    """A server that answers every request so; its port, and (Host, path) of each request."""
    seen: list[tuple[str, str]] = []
    handler = type("Handler", (Handler,), {"reply": reply, "seen": seen})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    if tls:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield server.server_address[1], seen
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def asking(reply: Reply) -> Iterator[Callable[[], Answer]]:
    """A call of a server that answers so."""
    with vendor(reply) as (port, _), SourceClient(to_loopback("a.test")) as client:
        yield lambda: client.request("GET", f"http://a.test:{port}/")


def to_loopback(*internal: str) -> Context:
    """A context that finds every name on this machine, and in which these hosts may be spoken to in clear."""
    return Context(lambda _host, _port: "127.0.0.1", Redactor([SecretStr(SECRET)]), frozenset(internal))


def test_a_name_is_resolved_by_the_judge_alone_and_the_vendor_sees_the_name() -> None:
    judged = []

    def address(host: str, port: int) -> str:
        judged.append((host, port))
        return "127.0.0.1"

    with vendor(lambda handler: handler.send(200, b'{"a": 1}')) as (port, seen):
        context = Context(address, Redactor(), frozenset({"vendor.test"}))
        with SourceClient(context) as client:
            for _ in range(2):
                answer = client.request("GET", f"http://vendor.test:{port}/x", params={"q": "a+b c"})
    assert (answer.status, answer.json()) == (200, {"a": 1})
    assert seen == [(f"vendor.test:{port}", "/x?q=a%2Bb+c")] * 2
    assert judged == [("vendor.test", port)] * 2


def test_what_the_judge_refuses_is_not_connected_to() -> None:
    def refuse(host: str, _port: int) -> str:
        raise ConfigurationError(f"{host} is an internal address.")

    context = Context(refuse, Redactor(), frozenset({"127.0.0.1"}))
    with (
        vendor(lambda handler: handler.send(200)) as (port, seen),
        SourceClient(context) as client,
        pytest.raises(ConfigurationError, match=r"127\.0\.0\.1 is an internal address"),
    ):
        client.request("GET", f"http://127.0.0.1:{port}/")
    assert seen == []


@pytest.mark.parametrize(
    "url",
    [
        *("http://vendor.test/", "ftp://vendor.test/", "https://user:x@vendor.test/", "https://", "vendor"),
        *(
            "https://vendor.test@127.0.0.1/",
            r"https://vendor.test\@127.0.0.1/",
            "https://\uff11\uff12\uff17.0.0.1/",
            "https://0177.0.0.1/",
        ),
        *("http://other.test./", "http://other.test@vendor.test/"),
    ],
)
def test_only_https_is_spoken_to_hosts_that_nobody_has_named(url: str) -> None:
    with SourceClient(to_loopback("other.test")) as client, pytest.raises(ConfigurationError):
        client.request("GET", url)


@pytest.mark.parametrize(
    "host",
    [
        *("2130706433", "0x7f000001", "0x7f.1", "127.1", "[::ffff:127.0.0.1]", "[::1]", "[fe80::1%lo]"),
        *("127。0。0。1", "LOCALHOST"),
    ],
)
def test_a_host_inside_is_not_connected_to_however_it_is_written(
    host: str, connected: list[tuple[str, int]]
) -> None:
    with SourceClient(judging()) as client, pytest.raises(InternalAddress):
        client.request("GET", f"https://{host}/")
    assert connected == []


def test_a_name_that_resolves_otherwise_the_next_time_is_judged_again(
    connected: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    answers(monkeypatch, ["93.184.216.34"], ["127.0.0.1"], ["93.184.216.34", "127.0.0.1"])
    with SourceClient(judging()) as client:
        with pytest.raises(TransientError):
            client.request("GET", "https://rebound.test/")
        for _ in range(2):
            with pytest.raises(InternalAddress):
                client.request("GET", "https://rebound.test/")
    # The address of the first answer, not the name, which would have had the second one.
    assert connected == [("93.184.216.34", 443)]


def test_a_name_beyond_ascii_is_the_same_for_judge_and_vendor() -> None:
    """Resolver and TLS of Python would make fass.test of it, a domain of somebody else."""
    judged = []

    def address(host: str, _port: int) -> str:
        judged.append(host)
        return "127.0.0.1"

    with vendor(lambda handler: handler.send(200)) as (port, seen):
        context = Context(address, Redactor(), frozenset({"xn--fa-hia.test"}))
        with SourceClient(context) as client:
            client.request("GET", f"http://faß.test:{port}/")
    assert judged == ["xn--fa-hia.test"]
    assert seen == [(f"xn--fa-hia.test:{port}", "/")]


def judging() -> Context:
    """A context with the installation's own judge, where the operator has named no host."""
    return Context(lambda host, port: allowed_address(host, port, ()), Redactor())


@pytest.fixture
def connected(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Where connections are made to, each of which is refused."""
    made: list[tuple[str, int]] = []

    def create_connection(address: tuple[str, int], *_: Any, **__: Any) -> socket.socket:
        made.append(address)
        raise ConnectionRefusedError

    monkeypatch.setattr(socket, "create_connection", create_connection)
    return made


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_refused(status: int) -> None:
    with (
        asking(lambda handler: handler.send(status, Location="http://inside.test/?s=1")) as ask,
        pytest.raises(ConfigurationError, match=r"a\.test sends its visitors on to inside\.test"),
    ):
        ask()


@pytest.mark.parametrize(
    "place", ["http://127.0.0.1:{}/", "//2130706433:{}/", "http://a.test@127.1:{}/", "/x"]
)
def test_what_a_redirect_leads_to_hears_nothing(place: str) -> None:
    with vendor(lambda handler: handler.send(200)) as (port, inside):
        there = place.format(port)
        with (
            vendor(lambda handler: handler.send(302, Location=there)) as (outer, seen),
            SourceClient(to_loopback("a.test", "127.0.0.1")) as client,
            pytest.raises(ConfigurationError, match="sends its visitors on to"),
        ):
            client.request("GET", f"http://a.test:{outer}/")
    assert (inside, len(seen)) == ([], 1)


@pytest.mark.parametrize("status", [408, 420, 429, 500, 502, 503, 504])
def test_a_source_that_is_busy_or_broken_is_asked_again_when_it_says(status: int) -> None:
    body = f"<h1>Maintenance</h1>\n of {SECRET}".encode()
    with (
        asking(lambda handler: handler.send(status, body, Retry_After="7")) as ask,
        pytest.raises(TransientError) as caught,
    ):
        ask()
    assert caught.value.retry_after == 7
    assert str(caught.value) == f"a.test answered {status}: <h1>Maintenance</h1> of [secret]"


def test_other_answers_are_the_types_to_understand() -> None:
    with asking(lambda handler: handler.send(403, b"no")) as ask:
        answer = ask()
    assert (answer.status, answer.body) == (403, b"no")
    with pytest.raises(TransientError, match="answered 403 with what is no JSON: no"):
        answer.json()


def test_no_part_of_a_secret_is_shown_where_an_answer_is_cut() -> None:
    # What is shown is its beginning, without idle space.
    body = b"<p>" + b" " * 2_990 + SECRET.encode() * 100
    with asking(lambda handler: handler.send(403, body)) as ask:
        shown = ask().shown
    assert "canary" not in shown
    assert len(shown) == 300


@pytest.mark.parametrize("status", [200, 201])
def test_what_may_be_data_is_not_shown(status: int) -> None:
    """It may have personal values in it, or the token of an answer that was cut."""
    body = b'{"access_token":"what-nobody-knows-yet'
    with (
        asking(lambda handler: handler.send(status, body, Content_Type="application/json")) as ask,
        pytest.raises(TransientError, match=r"with what is no JSON: 38 bytes of application/json$"),
    ):
        ask().json()
    with asking(lambda handler: handler.send(status, b"<p>Later", Content_Type="text/HTML")) as ask:
        assert ask().shown == "<p>Later"


def test_how_long_to_wait_is_seconds_or_a_date() -> None:
    def asked(value: str) -> float | None:
        return retry_after(httpx.Response(503, headers={"Retry-After": value}))

    assert (asked("120"), asked(""), asked("soon")) == (120.0, None, None)
    in_a_minute = asked(format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True))
    assert in_a_minute is not None
    assert 55 < in_a_minute <= 60
    assert asked("Wed, 21 Oct 2015 07:28:00 GMT") == 0.0


def test_an_answer_that_breaks_off_is_tried_again() -> None:
    def short(handler: Handler) -> None:
        handler.send(200, b'{"a":', Content_Length="100")
        handler.close_connection = True

    with asking(short) as ask, pytest.raises(TransientError, match=r"a\.test cannot be reached: .*100"):
        ask()
    with vendor(short) as (port, _):
        pass
    with (
        SourceClient(to_loopback("a.test")) as client,
        pytest.raises(TransientError, match=r"a\.test cannot be reached"),
    ):
        client.request("GET", f"http://a.test:{port}/")


def test_an_answer_has_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(handler: Handler) -> None:
        handler.send(200, b"", Content_Length="20")
        for _ in range(20):
            handler.wfile.write(b"x")
            time.sleep(0.02)

    monkeypatch.setattr(http, "ANSWER_BYTES", 1_000)
    with (
        asking(lambda handler: handler.send(200, b"x" * 2_000)) as ask,
        pytest.raises(TransientError, match="more than 1,000 bytes"),
    ):
        ask()
    monkeypatch.setattr(http, "ANSWER_SECONDS", 0.1)
    with asking(slow) as ask, pytest.raises(TransientError, match="did not end"):
        ask()


def test_no_cookie_goes_from_one_host_to_another_at_the_same_address() -> None:
    cookies = []

    def reply(handler: Handler) -> None:
        cookies.append(handler.headers.get("Cookie"))
        handler.send(200, Set_Cookie="session=1; Path=/")

    with vendor(reply) as (port, _), SourceClient(to_loopback("a.test", "b.test")) as client:
        client.request("GET", f"http://a.test:{port}/")
        client.request("GET", f"http://b.test:{port}/")
    assert cookies == [None, None]


@pytest.fixture
def tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    """A server's TLS as ``vendor.test``, whose certificate this process trusts."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "vendor.test")])
    names = x509.SubjectAlternativeName([x509.DNSName("vendor.test")])
    assert ip_address("127.0.0.1") not in names.get_values_for_type(x509.IPAddress)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime.now(UTC) - timedelta(days=1))
        .not_valid_after(datetime.now(UTC) + timedelta(days=1))
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (tmp_path / "trusted.pem").write_bytes(certificate.public_bytes(pem))
    (tmp_path / "server.pem").write_bytes(private + certificate.public_bytes(pem))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "trusted.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server.pem")
    return context


def test_the_certificate_is_held_against_the_name_and_not_the_address(tls: ssl.SSLContext) -> None:
    with (
        vendor(lambda handler: handler.send(200), tls) as (port, seen),
        SourceClient(to_loopback()) as client,
    ):
        assert client.request("GET", f"https://vendor.test:{port}/").status == 200
        # At the same address, where a connection is open: it proves nothing of another host.
        with pytest.raises(ConfigurationError, match=r"other\.test does not prove who it is"):
            client.request("GET", f"https://other.test:{port}/")
    assert seen == [(f"vendor.test:{port}", "/")]

"""Real receivers on real ports: a web server and a mail server that do as they are told and keep what they get."""

import base64
import hashlib
import hmac
import json
import socketserver
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


class WebhookReceiver:
    """Answers each POST with the next of ``answers``, the last one for ever; 0 hangs until the receiver is closed."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self.answers = [200]
        self.requests: list[tuple[dict[str, str], bytes]] = []
        self.closing = threading.Event()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.requests.append(({k.lower(): v for k, v in self.headers.items()}, body))
                answer = receiver.answers.pop(0) if len(receiver.answers) > 1 else receiver.answers[0]
                if answer == 0:
                    receiver.closing.wait(30)
                    return
                self.send_response(answer)
                if answer == 302:
                    self.send_header("Location", receiver.url)
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        if context:
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.url = f"{'https' if context else 'http'}://localhost:{self.server.server_port}/hook/s3cret"

    def bodies(self) -> list[dict[str, Any]]:
        """What was posted, in order."""
        return [json.loads(body) for _headers, body in self.requests]

    def is_signed_with(self, key: str) -> bool:
        """Whether the newest message's signature is right, as a receiver would judge."""
        headers, body = self.requests[-1]
        content = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
        secret = base64.b64decode(key.removeprefix("whsec_"))
        expected = base64.b64encode(hmac.digest(secret, content, hashlib.sha256)).decode()
        return headers["webhook-signature"] == f"v1,{expected}"


class MailReceiver:
    """Speaks as much SMTP as a client needs. ``refuses`` is a verb that it answers with 550."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self.context = context
        self.mails: list[EmailMessage] = []
        self.lines: list[str] = []
        self.secured: list[bool] = []
        self.refuses = ""
        self.server = _MailServer(("127.0.0.1", 0), _MailHandler)
        self.server.receiver = self
        self.port = int(self.server.server_address[1])


class _MailServer(socketserver.ThreadingTCPServer):
    daemon_threads = True
    receiver: MailReceiver

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that breaks off is what some tests are about."""


class _MailHandler(socketserver.StreamRequestHandler):
    server: _MailServer

    def say(self, line: str) -> None:
        self.wfile.write(f"{line}\r\n".encode())

    def handle(self) -> None:
        self.say("220 test")
        while line := self.rfile.readline().decode().strip():
            self.server.receiver.lines.append(line)
            if line.upper() == "QUIT":
                self.say("221 bye")
                break
            self.answer(line.split()[0].upper())

    def answer(self, verb: str) -> None:
        context = self.server.receiver.context
        if verb == self.server.receiver.refuses:
            self.say("550 no, and here is your password again")
        elif verb == "EHLO":
            self.say("250-test")
            self.say("250-AUTH PLAIN")
            self.say("250 STARTTLS" if context else "250 OK")
        elif verb == "STARTTLS" and context:
            self.say("220 go on")
            self.request = context.wrap_socket(self.request, server_side=True)
            self.rfile, self.wfile = self.request.makefile("rb"), self.request.makefile("wb", 0)
        elif verb == "DATA":
            self.say("354 go on")
            self.take_mail()
        else:
            self.say("235 welcome" if verb == "AUTH" else "250 OK")

    def take_mail(self) -> None:
        text, receiver = b"".join(iter(self.rfile.readline, b".\r\n")), self.server.receiver
        receiver.mails.append(message_from_bytes(text, policy=policy.default))  # type: ignore[arg-type]
        receiver.secured.append(isinstance(self.request, ssl.SSLSocket))
        self.say("250 taken")


@contextmanager
def serving(receiver: Any) -> Iterator[Any]:
    """Let a receiver serve."""
    thread = threading.Thread(
        target=receiver.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
    )
    thread.start()
    try:
        yield receiver
    finally:
        if hasattr(receiver, "closing"):
            receiver.closing.set()
        receiver.server.shutdown()
        receiver.server.server_close()


def certified(folder: Path, host: str) -> tuple[ssl.SSLContext, Path]:
    """A server's TLS context with a certificate of its own for the host, and the file that makes one trust it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName(host), x509.IPAddress(ip_address("127.0.0.9"))]), False
        )
        .sign(key, hashes.SHA256())
    )
    public = folder / "certificate.pem"
    private = folder / "key.pem"
    public.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(public, private)
    return context, public

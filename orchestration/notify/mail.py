"""Handing an e-mail to the installation's mail server."""

import smtplib
import ssl
from email.message import EmailMessage

from orchestration.notify.errors import NotDelivered
from orchestration.settings import Installation

DEADLINE_SECONDS = 10
"""For each step of the conversation. The server is the operator's own, chosen by no tenant."""


def send(settings: Installation, message: EmailMessage) -> None:
    """Hand it over once. ``starttls`` and ``tls`` check the server's certificate and never fall back to clear text.

    Raises:
        NotDelivered: the server did not take it, or none is set.
    """
    if settings.smtp_host is None:
        raise NotDelivered("This installation sends no e-mail: its operator has to set CASETRAIL_SMTP_HOST.")
    try:
        with _connected(settings, settings.smtp_host) as server:
            if settings.smtp_user is not None:
                password = settings.smtp_password.get_secret_value() if settings.smtp_password else ""
                server.login(settings.smtp_user, password)
            server.send_message(message)
    except smtplib.SMTPResponseException as error:
        # Not its text: servers repeat what they were sent, also at a login.
        raise NotDelivered(f"The mail server answered {error.smtp_code}.") from None
    except smtplib.SMTPRecipientsRefused as error:
        codes = ", ".join(str(code) for code, _text in error.recipients.values())
        raise NotDelivered(f"The mail server refused the receiver ({codes}).") from None
    except (smtplib.SMTPException, OSError) as error:
        raise NotDelivered(f"The mail server could not be used: {type(error).__name__}.") from None


def _connected(settings: Installation, host: str) -> smtplib.SMTP:
    context = ssl.create_default_context()
    if settings.smtp_security == "tls":
        return smtplib.SMTP_SSL(host, settings.smtp_port, timeout=DEADLINE_SECONDS, context=context)
    server = smtplib.SMTP(host, settings.smtp_port, timeout=DEADLINE_SECONDS)
    if settings.smtp_security == "starttls":
        try:
            server.starttls(context=context)
        except BaseException:
            server.close()
            raise
    return server

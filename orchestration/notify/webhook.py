"""Posting a signed message to a webhook."""

import asyncio
import ssl
import time
from collections.abc import Collection

import httpx

from orchestration.notify.errors import NotDelivered
from orchestration.notify.signing import signed_headers
from orchestration.notify.targets import Target, TargetRefused, resolve

DEADLINE_SECONDS = 10
"""For the whole exchange: a receiver that answers byte by byte holds nobody up."""


async def post(
    target: Target, signing_key: str, message_id: str, body: bytes, internal_hosts: Collection[str]
) -> None:
    """Post once; any answer of 200 to 299 means that it was taken. Redirects are not followed.

    Raises:
        NotDelivered: it was not taken; final if the address is refused.
    """
    try:
        async with asyncio.timeout(DEADLINE_SECONDS):
            address = await asyncio.to_thread(resolve, target, internal_hosts)
            status = await _send(target, address, signing_key, message_id, body)
    except TargetRefused as error:
        raise NotDelivered(str(error), final=True) from None
    except TimeoutError:
        raise NotDelivered(f"No answer within {DEADLINE_SECONDS} s.") from None
    except (httpx.HTTPError, OSError) as error:
        # The exception's text may name the address, never the path.
        raise NotDelivered(f"The connection failed: {type(error).__name__}.") from None
    if not 200 <= status < 300:
        raise NotDelivered(f"The receiver answered {status}.")


async def _send(target: Target, address: str, signing_key: str, message_id: str, body: bytes) -> int:
    """The status of the answer, whose body nobody reads."""
    headers = {
        "Host": target.host if target.port in (80, 443) else f"{target.host}:{target.port}",
        "Content-Type": "application/json",
        "User-Agent": "casetrail",
        **signed_headers(signing_key, message_id, int(time.time()), body),
    }
    url = httpx.URL(scheme=target.scheme, host=address, port=target.port, raw_path=target.path.encode())
    # trust_env: a proxy from the environment would resolve the name again.
    async with httpx.AsyncClient(
        verify=ssl.create_default_context(), timeout=DEADLINE_SECONDS, trust_env=False, follow_redirects=False
    ) as client:
        request = client.build_request(
            "POST", url, content=body, headers=headers, extensions={"sni_hostname": target.host}
        )
        response = await client.send(request, stream=True)
        await response.aclose()
        return response.status_code

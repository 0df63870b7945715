"""Test servers of the systems that casetrail's connectors pull from.

Each is real HTTP on a real port of this machine, keeps state, and speaks the vendor's documented protocol, with a
clock and a script of faults::

    with SalesforceServer(clock=Clock(datetime(2026, 1, 2, tzinfo=UTC))) as server:
        lead = server.store.create("Lead", {"LastName": "Doe", "Company": "Acme"})
        server.faults.add(path="/query", nth=2, status=503, headers={"Retry-After": "5"})
        server.clock.advance(60)
        ...  # a client of server.url

What belongs here: servers and their state. Nothing of casetrail is imported, so that a mistake in a connector is not
repeated here. No live account of a vendor was used: the protocols are those of their documentation.
"""

from casetrail_testkit.clock import Clock
from casetrail_testkit.faults import Fault
from casetrail_testkit.marketo.server import MarketoServer
from casetrail_testkit.salesforce.server import SalesforceServer

__all__ = ["Clock", "Fault", "MarketoServer", "SalesforceServer"]

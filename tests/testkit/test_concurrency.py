"""Many clients read while records are made and changed: every answer is of one moment, and none fails."""

import threading
from concurrent.futures import ThreadPoolExecutor

import httpx

from casetrail_testkit import SalesforceServer
from casetrail_testkit.salesforce.catalog import Field
from tests.testkit.conftest import log_in
from tests.testkit.test_salesforce_bulk import finished, pages, rows
from tests.testkit.test_salesforce_rest import column, query


def test_each_answer_is_of_one_moment(salesforce: SalesforceServer) -> None:
    store = salesforce.store
    store.load("Account", ["Name"], (["0"] for _ in range(3_000)))
    headers = {"Authorization": f"Bearer {log_in(salesforce)}"}
    stop = threading.Event()
    writes = 0

    def write() -> None:
        """Every statement gives all records one name, so that an answer with two names is of two moments."""
        nonlocal writes
        while not stop.is_set():
            writes += 1
            store.tables.write('update "Account" set Name = ?', (str(writes),))
            if writes % 10 == 0:
                store.add_field("Account", Field(f"F{writes}__c"))

    def read(number: int) -> set[int]:
        base = f"{salesforce.url}/services/data/v62.0"
        seen = set()
        with httpx.Client(base_url=base, headers=headers, verify=False, timeout=30) as org:
            for _ in range(4):
                if number % 2:
                    page = query(org, "SELECT Id, Name FROM Account")
                    names = set(column(page, "Name"))
                    page = org.get(f"{salesforce.url}{page['nextRecordsUrl']}").json()
                    names |= set(column(page, "Name"))
                else:
                    read_pages = pages(org, finished(org, "SELECT Name FROM Account"), maxRecords=1_000)
                    names = {row[0] for page in read_pages for row in rows(page)[1:]}
                assert len(names) == 1
                seen.add(int(names.pop()))
        return seen

    writer = threading.Thread(target=write)
    writer.start()
    try:
        with ThreadPoolExecutor(6) as pool:
            seen = set().union(*pool.map(read, range(6)))
    finally:
        stop.set()
        writer.join()
    assert len(seen) > 3

"""A webhook reaches the public internet and nothing behind the installation, unless the operator names it."""

import pytest

from orchestration.notify.targets import TargetRefused, parse_target, resolve


@pytest.mark.parametrize(
    "url",
    [
        *("http://hooks.example.com/x", "ftp://hooks.example.com/x", "hooks.example.com/x", "https:///x", ""),
        *("https://user:pass@hooks.example.com/", "https://hooks.example.com:99999/", "https://a b/"),
        "https://hooks.example.com/\r\nX: y",
    ],
)
def test_what_is_no_url_of_a_webhook_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(TargetRefused) as caught:
        parse_target(url, [])
    assert not url or url not in str(caught.value)


def test_the_path_of_a_url_is_not_shown() -> None:
    target = parse_target("https://hooks.example.com/services/T0/s3cret?token=t0p", [])
    assert target.path == "/services/T0/s3cret?token=t0p"
    assert target.shown == "https://hooks.example.com:443/…"


@pytest.mark.parametrize(
    "url",
    ["https://localhost/", "https://127.1/", "https://2130706433/", "https://[::1]/", "https://0x7f.1/"],
)
def test_an_internal_host_is_refused_however_it_is_written_unless_it_is_named(url: str) -> None:
    target = parse_target(url, [])
    with pytest.raises(TargetRefused, match="CASETRAIL_NOTIFY_INTERNAL_HOSTS"):
        resolve(target, [])
    assert resolve(target, [target.host]) in ("127.0.0.1", "::1")


def test_only_a_named_host_is_called_without_tls() -> None:
    assert parse_target("http://localhost:8080/x", ["localhost"]).port == 8080
    with pytest.raises(TargetRefused, match="https"):
        parse_target("http://localhost:8080/x", ["otherhost"])

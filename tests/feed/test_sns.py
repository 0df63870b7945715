"""Only what a topic of ours has signed is taken for true."""

import pytest

from orchestration.feed.sns import NotFromTopic, verify
from tests.feed.signing import TOPIC, Sns


def test_a_signed_message_of_our_topic_is_accepted() -> None:
    sns = Sns()
    verify(sns.signed(Message='{"Records": []}'), {TOPIC}, sns.fetch)
    verify(sns.signed(Subject="Amazon S3 Notification"), {TOPIC}, sns.fetch)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"Message": "{ }"}, "signature"),
        ({"Signature": "AAAA"}, "signature"),
        ({"Signature": "?"}, "signature"),
        ({"TopicArn": f"{TOPIC}2"}, "CASETRAIL_FEED_TOPICS"),
        ({"Type": "UnsubscribeConfirmation"}, "CASETRAIL_FEED_TOPICS"),
        ({"SignatureVersion": "1"}, "SignatureVersion to 2"),
        ({"SigningCertURL": "https://sns.eu-central-1.amazonaws.com.evil.example/c.pem"}, "no.* host of SNS"),
        ({"SigningCertURL": "https://evil@sns.eu-central-1.amazonaws.com/c.pem"}, "not a host of SNS"),
        ({"SigningCertURL": "http://sns.eu-central-1.amazonaws.com/c.pem"}, "not a host of SNS"),
    ],
)
def test_anything_else_is_refused(change: dict[str, str], why: str) -> None:
    sns = Sns()
    with pytest.raises(NotFromTopic, match=why):
        verify(sns.signed() | change, {TOPIC}, sns.fetch)


def test_a_message_that_another_key_signed_is_refused() -> None:
    with pytest.raises(NotFromTopic, match="signature"):
        verify(Sns().signed(), {TOPIC}, Sns().fetch)

"""The sensor that tells the channels of all workspaces what began, what is over, and sends what is due."""

import dagster as dg

from orchestration.notify.rounds import run_round
from orchestration.settings import load_settings


@dg.sensor(
    name="notifications",
    minimum_interval_seconds=10,
    default_status=dg.DefaultSensorStatus.RUNNING,
)
def notification_sensor(context: dg.SensorEvaluationContext) -> dg.SkipReason:
    """Send webhooks and e-mails of incidents in workspaces; starts no run."""
    done = run_round(load_settings())
    for delivery in done.deliveries:
        if delivery.error is not None:
            context.log.warning(f"notification {delivery.notification.id} was not taken: {delivery.error}")
    sent = sum(delivery.error is None for delivery in done.deliveries)
    return dg.SkipReason(f"{done.queued} queued, {sent} of {len(done.deliveries)} sent")

resource "aws_s3_bucket_notification" "logs" {
  count       = var.wiring == "sns" ? 0 : 1
  bucket      = var.log_bucket
  eventbridge = var.wiring == "eventbridge"
  depends_on  = [aws_sqs_queue_policy.logs, aws_s3_bucket.logs]

  dynamic "queue" {
    for_each = var.wiring == "s3" ? var.log_prefixes : []
    content {
      queue_arn     = aws_sqs_queue.logs.arn
      events        = ["s3:ObjectCreated:*"]
      filter_prefix = queue.value
    }
  }
}

resource "aws_sns_topic_subscription" "logs" {
  count                = var.wiring == "sns" ? 1 : 0
  topic_arn            = var.sns_topic_arn
  protocol             = "sqs"
  endpoint             = aws_sqs_queue.logs.arn
  raw_message_delivery = true
  depends_on           = [aws_sqs_queue_policy.logs]

  lifecycle {
    precondition {
      condition     = var.sns_topic_arn != ""
      error_message = "wiring sns wants sns_topic_arn."
    }
  }
}

resource "aws_cloudwatch_event_rule" "objects" {
  count       = var.wiring == "eventbridge" ? 1 : 0
  name        = "${var.name}-objects"
  description = "Log files in ${var.log_bucket}, for riposte"
  tags        = local.tags

  event_pattern = jsonencode({
    source      = ["aws.s3"]
    detail-type = ["Object Created"]
    detail = {
      bucket = { name = [var.log_bucket] }
      object = { key = [for p in var.log_prefixes : { prefix = p }] }
    }
  })
}

resource "aws_cloudwatch_event_target" "objects" {
  count = var.wiring == "eventbridge" ? 1 : 0
  rule  = aws_cloudwatch_event_rule.objects[0].name
  arn   = aws_sqs_queue.logs.arn
}

locals {
  patterns = {
    cloudtrail  = { detail-type = ["AWS API Call via CloudTrail", "AWS Service Event via CloudTrail", "AWS Insight via CloudTrail"] }
    signin      = { detail-type = ["AWS Console Sign In via CloudTrail", "AWS Console Signin via CloudTrail"] }
    guardduty   = { source = ["aws.guardduty"], detail-type = ["GuardDuty Finding"] }
    securityhub = { source = ["aws.securityhub"], detail-type = ["Security Hub Findings - Imported"] }
    config      = { source = ["aws.config"], detail-type = ["Config Configuration Item Change", "Config Rules Compliance Change"] }
  }

  queue_rule_arns = concat(
    [for r in aws_cloudwatch_event_rule.objects : r.arn],
    var.receiver == null ? [for r in aws_cloudwatch_event_rule.events : r.arn] : [],
  )
}

resource "aws_cloudwatch_event_rule" "events" {
  for_each      = var.events
  name          = "${var.name}-${each.key}"
  description   = "${each.key} for riposte"
  event_pattern = jsonencode(local.patterns[each.key])
  tags          = local.tags
}

resource "aws_cloudwatch_event_target" "queue" {
  for_each = var.receiver == null ? var.events : toset([])
  rule     = aws_cloudwatch_event_rule.events[each.key].name
  arn      = aws_sqs_queue.logs.arn
}

resource "aws_cloudwatch_event_connection" "receiver" {
  count              = var.receiver == null ? 0 : 1
  name               = var.name
  description        = "riposte's receiver"
  authorization_type = "API_KEY"

  auth_parameters {
    api_key {
      key   = var.receiver.header
      value = var.receiver_key
    }
  }

  lifecycle {
    precondition {
      condition     = length(var.receiver_key) >= 16
      error_message = "receiver wants receiver_key, of 16 characters or more."
    }
  }
}

resource "aws_cloudwatch_event_api_destination" "receiver" {
  count                            = var.receiver == null ? 0 : 1
  name                             = var.name
  description                      = "riposte's receiver"
  invocation_endpoint              = var.receiver.url
  http_method                      = "POST"
  invocation_rate_limit_per_second = var.receiver.rate
  connection_arn                   = aws_cloudwatch_event_connection.receiver[0].arn
}

data "aws_iam_policy_document" "events_trust" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["events.amazonaws.com"]
    }
    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [local.account]
    }
  }
}

data "aws_iam_policy_document" "eventbridge" {
  statement {
    sid       = "PostEvents"
    actions   = ["events:InvokeApiDestination"]
    resources = [for d in aws_cloudwatch_event_api_destination.receiver : d.arn]
  }
}

resource "aws_iam_role" "events" {
  count              = var.receiver == null ? 0 : 1
  name               = "${var.name}-events"
  assume_role_policy = data.aws_iam_policy_document.events_trust.json
  tags               = local.tags
}

resource "aws_iam_role_policy" "events" {
  count  = var.receiver == null ? 0 : 1
  name   = "post"
  role   = aws_iam_role.events[0].id
  policy = data.aws_iam_policy_document.eventbridge.json
}

# What the receiver does not take within a day goes to the dead-letter queue.
resource "aws_cloudwatch_event_target" "receiver" {
  for_each = var.receiver == null ? toset([]) : var.events
  rule     = aws_cloudwatch_event_rule.events[each.key].name
  arn      = aws_cloudwatch_event_api_destination.receiver[0].arn
  role_arn = aws_iam_role.events[0].arn

  retry_policy {
    maximum_event_age_in_seconds = 86400
    maximum_retry_attempts       = 185
  }
  dead_letter_config {
    arn = aws_sqs_queue.dead.arn
  }
}

data "aws_iam_policy_document" "dead" {
  statement {
    sid       = "Rules"
    actions   = ["sqs:SendMessage"]
    resources = [aws_sqs_queue.dead.arn]

    principals {
      type        = "Service"
      identifiers = ["events.amazonaws.com"]
    }
    condition {
      test     = "ArnEquals"
      variable = "aws:SourceArn"
      values   = [for r in aws_cloudwatch_event_rule.events : r.arn]
    }
  }
}

resource "aws_sqs_queue_policy" "dead" {
  count     = var.receiver == null || length(var.events) == 0 ? 0 : 1
  queue_url = aws_sqs_queue.dead.id
  policy    = data.aws_iam_policy_document.dead.json
}

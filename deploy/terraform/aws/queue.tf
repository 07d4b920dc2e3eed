# Messages that failed max_receive_count times. They keep the time at which they were
# first sent: the retention is longer than the queue's.
resource "aws_sqs_queue" "dead" {
  name                      = "${var.name}-dead"
  message_retention_seconds = 1209600
  sqs_managed_sse_enabled   = true
  tags                      = local.tags
}

resource "aws_sqs_queue" "logs" {
  name                       = var.name
  message_retention_seconds  = 345600
  receive_wait_time_seconds  = 20
  visibility_timeout_seconds = 120
  sqs_managed_sse_enabled    = true
  tags                       = local.tags

  redrive_policy = jsonencode({
    deadLetterTargetArn = aws_sqs_queue.dead.arn
    maxReceiveCount     = var.max_receive_count
  })
}

resource "aws_sqs_queue_redrive_allow_policy" "dead" {
  queue_url = aws_sqs_queue.dead.id

  redrive_allow_policy = jsonencode({
    redrivePermission = "byQueue"
    sourceQueueArns   = [aws_sqs_queue.logs.arn]
  })
}

# Who may send to the queue chooses what riposte reads with its role.
data "aws_iam_policy_document" "queue" {
  dynamic "statement" {
    for_each = var.wiring == "s3" ? [1] : []
    content {
      sid       = "Bucket"
      actions   = ["sqs:SendMessage"]
      resources = [aws_sqs_queue.logs.arn]

      principals {
        type        = "Service"
        identifiers = ["s3.amazonaws.com"]
      }
      condition {
        test     = "ArnEquals"
        variable = "aws:SourceArn"
        values   = [local.bucket_arn]
      }
      condition {
        test     = "StringEquals"
        variable = "aws:SourceAccount"
        values   = [local.account]
      }
    }
  }

  dynamic "statement" {
    for_each = var.wiring == "sns" ? [1] : []
    content {
      sid       = "Topic"
      actions   = ["sqs:SendMessage"]
      resources = [aws_sqs_queue.logs.arn]

      principals {
        type        = "Service"
        identifiers = ["sns.amazonaws.com"]
      }
      condition {
        test     = "ArnEquals"
        variable = "aws:SourceArn"
        values   = [var.sns_topic_arn]
      }
    }
  }

  dynamic "statement" {
    for_each = length(local.queue_rule_arns) > 0 ? [1] : []
    content {
      sid       = "Rules"
      actions   = ["sqs:SendMessage"]
      resources = [aws_sqs_queue.logs.arn]

      principals {
        type        = "Service"
        identifiers = ["events.amazonaws.com"]
      }
      condition {
        test     = "ArnEquals"
        variable = "aws:SourceArn"
        values   = local.queue_rule_arns
      }
    }
  }

  statement {
    sid       = "TransportIsEncrypted"
    effect    = "Deny"
    actions   = ["sqs:*"]
    resources = [aws_sqs_queue.logs.arn]

    principals {
      type        = "*"
      identifiers = ["*"]
    }
    condition {
      test     = "Bool"
      variable = "aws:SecureTransport"
      values   = ["false"]
    }
  }
}

resource "aws_sqs_queue_policy" "logs" {
  queue_url = aws_sqs_queue.logs.id
  policy    = data.aws_iam_policy_document.queue.json
}

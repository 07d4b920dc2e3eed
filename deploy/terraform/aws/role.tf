data "aws_iam_policy_document" "trust" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "AWS"
      identifiers = var.trusted_principals
    }

    dynamic "condition" {
      for_each = var.external_id == "" ? [] : [var.external_id]
      content {
        test     = "StringEquals"
        variable = "sts:ExternalId"
        values   = [condition.value]
      }
    }
  }
}

resource "aws_iam_role" "reader" {
  name               = "${var.name}-ingest"
  description        = "What riposte reads logs with"
  assume_role_policy = data.aws_iam_policy_document.trust.json
  tags               = local.tags
}

# The statements of deploy/iam/s3sqs.json.
data "aws_iam_policy_document" "s3sqs" {
  statement {
    sid       = "ReceiveNotifications"
    actions   = ["sqs:GetQueueAttributes", "sqs:ReceiveMessage", "sqs:ChangeMessageVisibility", "sqs:DeleteMessage"]
    resources = [aws_sqs_queue.logs.arn]
  }

  # So that riposte can tell of what died.
  statement {
    sid       = "CountDeadLetters"
    actions   = ["sqs:GetQueueAttributes"]
    resources = [aws_sqs_queue.dead.arn]
  }

  statement {
    sid       = "ReadLogs"
    actions   = ["s3:GetObject", "s3:GetObjectVersion"]
    resources = [for p in var.log_prefixes : "${local.bucket_arn}/${p}*"]
  }

  dynamic "statement" {
    for_each = length(var.kms_key_arns) > 0 ? [1] : []
    content {
      sid       = "DecryptLogs"
      actions   = ["kms:Decrypt"]
      resources = var.kms_key_arns
    }
  }
}

# The statements of deploy/iam/trail.json.
data "aws_iam_policy_document" "trail" {
  statement {
    sid       = "ListTrail"
    actions   = ["s3:GetBucketLocation", "s3:ListBucket"]
    resources = [local.bucket_arn]
  }

  statement {
    sid       = "ReadTrail"
    actions   = ["s3:GetObject"]
    resources = [for p in var.log_prefixes : "${local.bucket_arn}/${p}*"]
  }

  dynamic "statement" {
    for_each = length(var.kms_key_arns) > 0 ? [1] : []
    content {
      sid       = "DecryptTrail"
      actions   = ["kms:Decrypt"]
      resources = var.kms_key_arns
    }
  }

  # The keys are CloudTrail's own: the action knows no resource.
  statement {
    sid       = "KeysOfDigests"
    actions   = ["cloudtrail:ListPublicKeys"]
    resources = ["*"]
  }
}

resource "aws_iam_role_policy" "s3sqs" {
  name   = "s3sqs"
  role   = aws_iam_role.reader.id
  policy = data.aws_iam_policy_document.s3sqs.json
}

resource "aws_iam_role_policy" "trail" {
  count  = var.verify_trail ? 1 : 0
  name   = "trail"
  role   = aws_iam_role.reader.id
  policy = data.aws_iam_policy_document.trail.json
}

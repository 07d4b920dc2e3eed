resource "aws_s3_bucket" "logs" {
  count  = var.create_bucket ? 1 : 0
  bucket = var.log_bucket
  tags   = local.tags

  lifecycle {
    prevent_destroy = true
  }
}

resource "aws_s3_bucket_versioning" "logs" {
  count  = var.create_bucket ? 1 : 0
  bucket = aws_s3_bucket.logs[0].id

  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_public_access_block" "logs" {
  count                   = var.create_bucket ? 1 : 0
  bucket                  = aws_s3_bucket.logs[0].id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

locals {
  # Who delivers, and the condition that it is for this account or organization.
  deliveries = {
    cloudtrail = { service = "cloudtrail.amazonaws.com", sources = ["arn:${local.partition}:cloudtrail:${local.region}:${local.account}:trail/${try(var.trail.name, var.name)}"] }
    flowlogs   = { service = "delivery.logs.amazonaws.com", sources = ["arn:${local.partition}:logs:${local.region}:${local.account}:*"] }
    config     = { service = "config.amazonaws.com", sources = ["arn:${local.partition}:config:${local.region}:${local.account}:*"] }
  }
  delivery_folders = concat(["AWSLogs/${local.account}/*"], [for o in compact([try(var.trail.organization, "")]) : "AWSLogs/${o}/*"])
}

data "aws_iam_policy_document" "bucket" {
  dynamic "statement" {
    for_each = local.deliveries
    content {
      sid       = "Look${statement.key}"
      actions   = ["s3:GetBucketAcl", "s3:ListBucket"]
      resources = [local.bucket_arn]

      principals {
        type        = "Service"
        identifiers = [statement.value.service]
      }
      condition {
        test     = "ArnLike"
        variable = "aws:SourceArn"
        values   = statement.value.sources
      }
    }
  }

  dynamic "statement" {
    for_each = local.deliveries
    content {
      sid       = "Deliver${statement.key}"
      actions   = ["s3:PutObject"]
      resources = [for f in local.delivery_folders : "${local.bucket_arn}/${f}"]

      principals {
        type        = "Service"
        identifiers = [statement.value.service]
      }
      condition {
        test     = "StringEquals"
        variable = "s3:x-amz-acl"
        values   = ["bucket-owner-full-control"]
      }
      condition {
        test     = "ArnLike"
        variable = "aws:SourceArn"
        values   = statement.value.sources
      }
    }
  }

  statement {
    sid       = "TransportIsEncrypted"
    effect    = "Deny"
    actions   = ["s3:*"]
    resources = [local.bucket_arn, "${local.bucket_arn}/*"]

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

resource "aws_s3_bucket_policy" "logs" {
  count  = var.create_bucket ? 1 : 0
  bucket = aws_s3_bucket.logs[0].id
  policy = data.aws_iam_policy_document.bucket.json
}

data "aws_caller_identity" "here" {}
data "aws_region" "here" {}
data "aws_partition" "here" {}

locals {
  account    = data.aws_caller_identity.here.account_id
  region     = data.aws_region.here.name
  partition  = data.aws_partition.here.partition
  bucket_arn = "arn:${local.partition}:s3:::${var.log_bucket}"
  tags       = merge({ Application = var.name }, var.tags)
}

resource "aws_cloudtrail" "trail" {
  count                         = var.trail == null ? 0 : 1
  name                          = var.trail.name
  s3_bucket_name                = var.log_bucket
  kms_key_id                    = var.trail.kms_key_arn
  is_multi_region_trail         = true
  include_global_service_events = true
  enable_log_file_validation    = true
  is_organization_trail         = var.trail.organization != ""
  tags                          = local.tags
  depends_on                    = [aws_s3_bucket_policy.logs]
}

resource "aws_flow_log" "vpc" {
  for_each                 = try(var.flow_logs.vpc_ids, toset([]))
  vpc_id                   = each.key
  traffic_type             = "ALL"
  log_destination_type     = "s3"
  log_destination          = local.bucket_arn
  log_format               = var.flow_logs.fields
  max_aggregation_interval = var.flow_logs.interval
  tags                     = local.tags
  depends_on               = [aws_s3_bucket_policy.logs]

  destination_options {
    file_format                = var.flow_logs.format
    hive_compatible_partitions = var.flow_logs.format == "parquet"
    per_hour_partition         = true
  }
}

resource "aws_iam_service_linked_role" "config" {
  count            = var.config_recorder ? 1 : 0
  aws_service_name = "config.amazonaws.com"
}

resource "aws_config_configuration_recorder" "all" {
  count    = var.config_recorder ? 1 : 0
  name     = var.name
  role_arn = aws_iam_service_linked_role.config[0].arn

  recording_group {
    all_supported                 = true
    include_global_resource_types = true
  }
}

resource "aws_config_delivery_channel" "all" {
  count          = var.config_recorder ? 1 : 0
  name           = var.name
  s3_bucket_name = var.log_bucket
  depends_on     = [aws_config_configuration_recorder.all, aws_s3_bucket_policy.logs]

  snapshot_delivery_properties {
    delivery_frequency = "TwentyFour_Hours"
  }
}

resource "aws_config_configuration_recorder_status" "all" {
  count      = var.config_recorder ? 1 : 0
  name       = aws_config_configuration_recorder.all[0].name
  is_enabled = true
  depends_on = [aws_config_delivery_channel.all]
}

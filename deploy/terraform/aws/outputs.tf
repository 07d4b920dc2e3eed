output "queue_url" {
  description = "The queue that riposte receives from."
  value       = aws_sqs_queue.logs.url
}

output "queue_arn" {
  description = "Its ARN, to wire what the module does not."
  value       = aws_sqs_queue.logs.arn
}

output "dead_letter_queue_url" {
  description = "Where messages end that always fail: alert when it is not empty."
  value       = aws_sqs_queue.dead.url
}

output "role_arn" {
  description = "The role that riposte assumes to read."
  value       = aws_iam_role.reader.arn
}

output "riposte_yaml" {
  description = "The sources of riposte's configuration."
  value = yamlencode({
    sources = concat(
      [{ s3 = merge(
        { queue = aws_sqs_queue.logs.url, region = local.region, role = aws_iam_role.reader.arn, prefixes = var.log_prefixes },
        var.external_id == "" ? {} : { external_id = var.external_id },
      ) }],
      var.verify_trail ? [for p in var.log_prefixes : { trail = merge(
        { address = "s3://${var.log_bucket}/${p}", role = aws_iam_role.reader.arn },
        var.external_id == "" ? {} : { external_id = var.external_id },
      ) }] : [],
    )
  })
}

# One account: bucket, trail, flow logs and Config are made, and riposte is told by
# the bucket itself.
provider "aws" {
  region = "eu-west-1"
}

module "riposte" {
  source = "../.."

  log_bucket         = "example-riposte-logs"
  create_bucket      = true
  trusted_principals = ["arn:aws:iam::111122223333:role/riposte"]

  trail           = {}
  flow_logs       = { vpc_ids = ["vpc-0123456789abcdef0"] }
  config_recorder = true
  events          = ["guardduty", "signin"]
}

output "riposte_yaml" {
  value = module.riposte.riposte_yaml
}

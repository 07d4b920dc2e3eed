# The log archive account of an organization: the bucket and the organization's
# trail exist, the trail's topic tells the queue, and riposte runs in another account.
provider "aws" {
  region = "eu-west-1"
}

module "riposte" {
  source = "../.."

  log_bucket         = "example-org-logs"
  log_prefixes       = ["AWSLogs/o-example1234/"]
  kms_key_arns       = ["arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"]
  wiring             = "sns"
  sns_topic_arn      = "arn:aws:sns:eu-west-1:111122223333:org-trail"
  trusted_principals = ["arn:aws:iam::444455556666:role/riposte"]
  external_id        = "example-org"
}

output "riposte_yaml" {
  value = module.riposte.riposte_yaml
}

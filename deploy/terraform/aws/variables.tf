variable "name" {
  description = "Name of what is created, and the beginning of names."
  type        = string
  default     = "riposte"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,30}$", var.name))
    error_message = "name wants 2 to 31 lower-case letters, digits and dashes, a letter first."
  }
}

variable "log_bucket" {
  description = "Bucket that holds the logs, in this region. It exists already unless create_bucket is true."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$", var.log_bucket))
    error_message = "log_bucket wants the name of a bucket, not an ARN."
  }
}

variable "create_bucket" {
  description = "Whether the module makes the bucket: versioned, private, encrypted, open to the log deliveries of this account (or organization) alone."
  type        = bool
  default     = false
}

variable "log_prefixes" {
  description = "Prefixes in the bucket that riposte is told of and may read. Of several, none may be the beginning of another."
  type        = list(string)
  default     = ["AWSLogs/"]

  validation {
    condition     = length(var.log_prefixes) > 0 && alltrue([for p in var.log_prefixes : p != "" && !startswith(p, "/")])
    error_message = "log_prefixes wants at least one prefix, none empty or beginning with a slash."
  }
}

variable "kms_key_arns" {
  description = "Keys that the logs and the queue's topic are encrypted with. Their own policies have to allow the role too."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for a in var.kms_key_arns : can(regex("^arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:key/[A-Za-z0-9-]+$", a))])
    error_message = "kms_key_arns wants ARNs of keys, not of aliases."
  }
}

variable "wiring" {
  description = "How the queue is told of objects: s3 (the bucket's notification), sns (the topic in sns_topic_arn) or eventbridge (the bucket's events). s3 and eventbridge set the notification of the whole bucket: others that it has are replaced."
  type        = string
  default     = "s3"

  validation {
    condition     = contains(["s3", "sns", "eventbridge"], var.wiring)
    error_message = "wiring is s3, sns or eventbridge."
  }
}

variable "sns_topic_arn" {
  description = "Topic that is told of objects, for wiring sns: the bucket's notification, a trail's or Config's topic."
  type        = string
  default     = ""

  validation {
    condition     = var.sns_topic_arn == "" || can(regex("^arn:aws[a-z-]*:sns:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_-]+$", var.sns_topic_arn))
    error_message = "sns_topic_arn wants the ARN of a topic."
  }
}

variable "max_receive_count" {
  description = "How often a message is received before it goes to the dead-letter queue."
  type        = number
  default     = 10

  validation {
    condition     = var.max_receive_count >= 3 && var.max_receive_count <= 1000
    error_message = "max_receive_count wants 3 to 1000."
  }
}

variable "trusted_principals" {
  description = "ARNs of the roles that riposte runs as, which may assume the reader role."
  type        = list(string)

  validation {
    condition     = length(var.trusted_principals) > 0 && alltrue([for a in var.trusted_principals : can(regex("^arn:aws[a-z-]*:iam::[0-9]{12}:(role|user|root).*$", a))])
    error_message = "trusted_principals wants ARNs of IAM roles, users or accounts, and at least one."
  }
}

variable "external_id" {
  description = "What riposte passes as external_id. Empty only where no other account assumes the role."
  type        = string
  default     = ""

  validation {
    condition     = var.external_id == "" || (length(var.external_id) >= 2 && length(var.external_id) <= 1224)
    error_message = "external_id wants 2 to 1224 characters."
  }
}

variable "verify_trail" {
  description = "Whether the role may verify CloudTrail's digests in the bucket: the source trail."
  type        = bool
  default     = true
}

variable "trail" {
  description = "A CloudTrail trail of all regions into the bucket, with log file validation; null makes none. An organization's trail is made in its management account."
  type = object({
    name         = optional(string, "riposte")
    organization = optional(string, "")
    kms_key_arn  = optional(string)
  })
  default = null

  validation {
    condition     = var.trail == null || try(var.trail.organization == "" || can(regex("^o-[a-z0-9]{10,32}$", var.trail.organization)), false)
    error_message = "trail.organization wants the organization's id, o-..., or nothing."
  }
}

variable "flow_logs" {
  description = "Flow logs of VPCs into the bucket; null makes none. format is parquet or plain-text; empty fields are the default format."
  type = object({
    vpc_ids  = set(string)
    format   = optional(string, "parquet")
    fields   = optional(string)
    interval = optional(number, 600)
  })
  default = null

  validation {
    condition     = var.flow_logs == null || try(contains(["parquet", "plain-text"], var.flow_logs.format) && contains([60, 600], var.flow_logs.interval), false)
    error_message = "flow_logs.format is parquet or plain-text, flow_logs.interval 60 or 600 seconds."
  }
}

variable "config_recorder" {
  description = "Whether Config records every kind of resource of this account and region into the bucket. There can be one recorder only."
  type        = bool
  default     = false
}

variable "events" {
  description = "What EventBridge sends to the queue or the receiver: cloudtrail, signin, guardduty, securityhub, config."
  type        = set(string)
  default     = []

  validation {
    condition     = alltrue([for e in var.events : contains(["cloudtrail", "signin", "guardduty", "securityhub", "config"], e)])
    error_message = "events knows cloudtrail, signin, guardduty, securityhub and config."
  }
}

variable "receiver" {
  description = "riposte's HTTPS receiver: events go there through an API destination rather than to the queue; null is the queue."
  type = object({
    url    = string
    header = optional(string, "X-Api-Key")
    rate   = optional(number, 300)
  })
  default = null

  validation {
    condition     = var.receiver == null || try(startswith(var.receiver.url, "https://"), false)
    error_message = "receiver.url wants https://."
  }
}

variable "receiver_key" {
  description = "The key that the receiver takes. It is kept in the state and in Secrets Manager."
  type        = string
  default     = ""
  sensitive   = true
}

variable "tags" {
  description = "Tags of all that is created."
  type        = map(string)
  default     = {}
}
